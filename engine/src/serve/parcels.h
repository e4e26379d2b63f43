#pragma once

#include <array>

#include "base/bytes.h"
#include "file/fd.h"
#include "file/mapping.h"
#include "serve/greeting.h"
#include "serve/user_shares.h"

namespace tailrace {

/// A memory file that holds a request, on its way. The server has made it, and knows that it is
/// one; its size is sealed. It counts as its user's memory.
struct OpenParcel {
  std::uint64_t ticket = 0;
  std::uint64_t size_bytes = 0;
  Fd file;
  Share share;
};

/// The memory files that a client has asked for and not sent yet.
class Parcels {
 public:
  /// Makes a file for a request and sends it to the client, or refuses, which says size 0: as many
  /// as may be are on their way, or the file would be too large, or more than `user` may have.
  /// False: the client could not be told.
  [[nodiscard]] bool grant(int socket, const Parcel& asked, std::uint64_t max_bytes, Share& user);
  /// The file for this ticket; those that were asked for before it are let go. With ticket 0:
  /// there is none.
  [[nodiscard]] OpenParcel take(std::uint64_t ticket) noexcept;

 private:
  static constexpr std::size_t kMost = 4;
  std::array<OpenParcel, kMost> open_;  // the oldest first
  std::size_t count_ = 0;
};

/// Maps what a parcel holds. Errors: invalid_argument (its client can still change it), busy (no
/// memory).
[[nodiscard]] Result<Mapping> map_parcel(const OpenParcel& parcel);

}  // namespace tailrace
