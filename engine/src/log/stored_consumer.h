#pragma once

#include "log/consumer_store.h"

namespace tailrace {

/// How far a consumer is, and who it is, as its file says at a moment.
struct ConsumerProgress {
  Stamp committed;
  std::int64_t committed_at_ns = 0;
  std::uint64_t generation = 0;
  std::optional<Stamp> older;          // what the other slot says, if it is right
  std::optional<Stamp> durable;        // known to be; none: nothing is known
  std::optional<ConsumerOwner> owner;  // none: half written by somebody who died
};

/// Anybody's consumer file, opened for reading. Read by pread only: its owner may cut it off, and a
/// mapping would then raise SIGBUS here.
class StoredConsumer {
 public:
  /// Errors: not_found, permission, not_a_log, corrupt, diverged (another log's), io.
  [[nodiscard]] static Result<StoredConsumer> open(const ConsumerStore& store,
                                                   const std::string& name);

  [[nodiscard]] const ConsumerIdentity& identity() const noexcept { return identity_; }
  [[nodiscard]] uid_t uid() const noexcept { return uid_; }
  /// Errors: corrupt (neither slot is right, and they do not change any more), io.
  [[nodiscard]] Result<ConsumerProgress> read() const;
  [[nodiscard]] bool removed() const noexcept;
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  Fd file_;
  std::string path_;
  ConsumerIdentity identity_;
  LogId log_;
  std::uint32_t seed_ = 0;
  uid_t uid_ = 0;
};

/// Whether the process that the owner record names is there.
[[nodiscard]] OwnerState owner_state(const std::optional<ConsumerOwner>& owner);

}  // namespace tailrace
