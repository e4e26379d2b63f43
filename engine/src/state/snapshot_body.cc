#include "state/snapshot_body.h"

#include <fcntl.h>

#include <algorithm>
#include <vector>

#include "base/planted.h"
#include "file/thread.h"

namespace tailrace {
namespace {

/// Read and hashed at a time: still in the cache when it is hashed.
constexpr std::size_t kCheckStepBytes = std::size_t{256} << 10;

}  // namespace

Result<Mapping> map_snapshot(const StoredSnapshot& stored) {
  auto mapping =
      Mapping::map(stored.file.get(), kSnapshotHeaderBytes + stored.content.body_size_bytes,
                   Access::read, stored.path);
  if (mapping || mapping.error().code() != errc::not_a_log) return mapping;
  return fail(Error(errc::corrupt, "the snapshot is cut off").path(stored.path));
}

Result<bool> check_body(const StoredSnapshot& stored, const std::atomic<bool>* stop) {
  const int file = stored.file.get();
  static_cast<void>(::posix_fadvise(file, 0, 0, POSIX_FADV_SEQUENTIAL));  // read further ahead
  BodyDigest digest;
  std::vector<std::byte> piece(
      std::min<std::uint64_t>(kCheckStepBytes, stored.content.body_size_bytes));
  const std::uint64_t end = kSnapshotHeaderBytes + stored.content.body_size_bytes;
  for (std::uint64_t at = kSnapshotHeaderBytes; at < end;) {
    if (stop != nullptr && stop->load(std::memory_order_relaxed)) return false;
    const std::size_t step = std::min<std::uint64_t>(piece.size(), end - at);
    auto got = read_some(file, piece.data(), step, at, stored.path);
    if (!got) return fail(got.error());
    if (*got < step) {
      return fail(Error(errc::corrupt, "the snapshot is cut off").path(stored.path).offset(at));
    }
    digest.add(piece.data(), step);
    at += step;
  }
  if (digest.end() == stored.content.body_digest || planted(Mistake::body_digest_not_compared)) {
    return true;
  }
  return fail(Error(errc::corrupt, "the snapshot is damaged: wrong checksum of its body")
                  .path(stored.path)
                  .offset(kSnapshotHeaderBytes));
}

Result<std::unique_ptr<BodyCheck>> BodyCheck::start(const StoredSnapshot& stored) {
  std::unique_ptr<BodyCheck> check(new BodyCheck);
  auto thread = start_thread("tailrace-body", [check = check.get(), &stored] {
    check->result_ = check_body(stored, &check->stop_);
    check->through_.store(true, std::memory_order_release);
  });
  if (!thread) return fail(thread.error());
  check->thread_ = std::make_unique<std::thread>(std::move(*thread));
  return check;
}

BodyCheck::~BodyCheck() {
  if (!thread_) return;
  if (forked_) {
    static_cast<void>(thread_.release());  // it runs in the parent only
    return;
  }
  stop_.store(true, std::memory_order_relaxed);
  thread_->join();
}

Result<bool> BodyCheck::result() const {
  if (through_.load(std::memory_order_acquire)) return *result_;
  if (forked_) {
    return fail(Error(errc::forked,
                      "the body is being checked in the parent process: open the "
                      "snapshot again"));
  }
  return false;
}

}  // namespace tailrace
