#pragma once

#include "state/snapshot_body.h"

namespace tailrace {

class Snapshot::Impl {
 public:
  explicit Impl(StoredSnapshot stored, Mapping mapping, SnapshotInfo info) noexcept
      : stored_(std::move(stored)), mapping_(std::move(mapping)), info_(std::move(info)) {}

  /// Does what has to be done about the body before it is handed out. Errors: corrupt, io.
  [[nodiscard]] Result<void> verify(Verify how);
  [[nodiscard]] Result<bool> verified() const {
    return check_ ? check_->result() : Result<bool>(verified_);
  }

  [[nodiscard]] const StoredSnapshot& stored() const noexcept { return stored_; }
  [[nodiscard]] const SnapshotInfo& info() const noexcept { return info_; }
  [[nodiscard]] Bytes body() const noexcept {
    return {mapping_.data() + kSnapshotHeaderBytes, stored_.content.body_size_bytes};
  }
  std::vector<Error> passed_over;

 private:
  StoredSnapshot stored_;
  Mapping mapping_;
  SnapshotInfo info_;
  bool verified_ = false;
  std::unique_ptr<BodyCheck> check_;  // the last: it looks at the others
};

/// What the engine's own parts see of a Snapshot.
class SnapshotAccess {
 public:
  using Impl = Snapshot::Impl;
  /// Of the file, for reading; the body begins at kSnapshotHeaderBytes. Lives as long as the
  /// snapshot.
  [[nodiscard]] static int fd(const Snapshot& snapshot) noexcept {
    return snapshot.impl_->stored().file.get();
  }
  /// For messages.
  [[nodiscard]] static const std::string& path(const Snapshot& snapshot) noexcept {
    return snapshot.impl_->stored().path;
  }
};

/// What the header and place of a stored one say.
[[nodiscard]] SnapshotInfo info_of(const StoredSnapshot& stored,
                                   const SnapshotDirectory& directory);

}  // namespace tailrace
