#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tailrace/result.h"
#include "tailrace/server.h"

namespace tailrace {

/// Who has connected, as the kernel noted it at that moment: not what he says of himself.
struct Peer {
  std::int64_t pid = 0;  // 0 = of a pid namespace that this process cannot see
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::vector<std::uint32_t> groups;  // besides
};

/// Errors: io.
[[nodiscard]] Result<Peer> peer_of(int socket);

/// Who is let in.
class Admission {
 public:
  Admission() = default;
  /// others: anybody but the owner and root can be let in (without a kernel that refuses
  /// descriptors they have to be trusted not to send any).
  Admission(std::uint32_t owner, const ServerOptions& options, bool others)
      : owner_(owner),
        uids_(options.allowed_uids),
        gids_(options.allowed_gids),
        all_(options.allow_all),
        others_(others) {}

  [[nodiscard]] bool allows(const Peer& peer) const noexcept;
  /// Nobody but the owner and root.
  [[nodiscard]] bool owner_only() const noexcept {
    return !others_ || (!all_ && uids_.empty() && gids_.empty());
  }
  /// What a user is told who is not let in.
  [[nodiscard]] std::string refusal(const Peer& peer) const;

 private:
  std::uint32_t owner_ = 0;
  std::vector<std::uint32_t> uids_;
  std::vector<std::uint32_t> gids_;
  bool all_ = false;
  bool others_ = true;
};

}  // namespace tailrace
