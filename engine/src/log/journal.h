#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "base/planted.h"
#include "file/write_queue.h"
#include "log/journal_file.h"
#include "log/live_segments.h"
#include "log/ring.h"

namespace tailrace {

/// The journal as a writer uses it: entries go in, and are reported durable in order; anchors say
/// what of it is still needed.
///
/// Invariants:
///  1. An entry is durable once its write has completed and so have all before it.
///  2. At most kDepth writes are under way, each from a buffer of its own.
/// Threads: one at a time (the committer's lock), but for wait() and wait_through(), which
/// whoever has the turn calls without it, and write(Anchor), which the syncer calls without it.
class Journal {
 public:
  struct Options {
    Direct direct = Direct::yes;
    bool io_uring = true;
  };
  /// An anchor on its way to the disk.
  struct Anchor {
    JournalAnchor anchor{};
    std::uint64_t block = 0;
    Ring::Oldest oldest;
  };

  /// Writes both anchors of a new epoch: an empty ring, everything below `end` in the segments. The
  /// older of the two blocks first; until the first one is durable the old epoch's journal stands.
  /// Errors: io, no_space.
  [[nodiscard]] static Result<std::unique_ptr<Journal>> begin(
      const LogFiles& files, JournalFile file, const JournalAnchor& before,
      std::uint64_t before_block, Position end, Epoch epoch, const Options& options);

  enum class Submitted : std::uint8_t { yes, no_slot, no_room };
  /// Puts bytes [from, to) of the log into the next entry, copied from the segments' mappings, and
  /// queues its write. to - from <= max_length(); from == to: an entry that proves what was
  /// acknowledged.
  [[nodiscard]] Submitted submit(const LiveSegments& segments, Position from, Position to,
                                 Position synced_to);
  [[nodiscard]] bool slot_free() const noexcept;
  [[nodiscard]] bool under_way() const noexcept { return completed_ < submitted_; }

  /// Waits until a write has ended or the time is up; to be followed by complete().
  [[nodiscard]] Result<void> wait(std::chrono::nanoseconds timeout);
  /// The same for as long as it takes.
  [[nodiscard]] Result<void> wait_through();
  /// An entry that is durable, with all before it.
  struct Completed {
    Position end = 0;
    std::uint64_t length = 0;
    std::uint64_t took_ns = 0;  // from the submission
  };
  /// What wait() found: appends to `out`, in order. Errors: io, no_space.
  [[nodiscard]] Result<void> complete(std::vector<Completed>& out);

  /// Whether the acknowledgement of the last entry that carried data stands in no later entry.
  [[nodiscard]] bool unproven() const noexcept { return proven_ < carried_; }

  [[nodiscard]] Anchor next_anchor(Position synced_to, Position first_retained,
                                   std::uint32_t flags) const;
  /// Durable on return. Errors: io, no_space.
  [[nodiscard]] Result<void> write(const Anchor& anchor);
  void anchored(const Anchor& anchor);
  /// What both anchors say: with one of them damaged the other serves.
  [[nodiscard]] Position first_retained() const noexcept {
    if (planted(Mistake::one_anchor_for_a_trim)) return newest_.first_retained;
    return std::min(newest_.first_retained, older_retained_);
  }

  [[nodiscard]] const Ring& ring() const noexcept { return ring_; }
  [[nodiscard]] std::uint64_t max_length() const noexcept { return max_length_; }
  [[nodiscard]] bool direct() const noexcept { return file_.direct(); }
  [[nodiscard]] bool is_io_uring() const noexcept { return queue_->is_io_uring(); }
  [[nodiscard]] Result<void> signal(int event_fd);

  void forked() noexcept;
  /// Nothing is written any more; lets go of the lock, or leaves that to the end of a write that is
  /// still under way.
  void end() noexcept;

 private:
  static constexpr unsigned kDepth = 2;

  struct Slot {
    bool busy = false;
    bool done = false;
    std::uint64_t number = 0;
    std::uint64_t offset = 0;
    std::uint64_t span = 0;
    unsigned attempts = 0;
    std::uint64_t submitted_ns = 0;  // CLOCK_MONOTONIC
    Completed entry;
  };

  Journal(const LogFiles& files, JournalFile file, Mapping buffers, Mapping anchor_block);
  [[nodiscard]] std::byte* buffer(std::size_t slot) const noexcept {
    return buffers_.data() + slot * buffer_bytes_;
  }
  void queue(std::size_t slot);

  const LogFiles& files_;
  JournalFile file_;
  Ring ring_;
  std::uint64_t max_length_;
  std::uint64_t buffer_bytes_;
  Mapping buffers_;
  Mapping anchor_bytes_;
  JournalAnchor newest_{};
  std::uint64_t newest_block_ = 0;
  Position older_retained_ = 0;  // what the other anchor says
  Slot slots_[kDepth];
  std::uint64_t submitted_ = 0;  // the highest number handed to the queue
  std::uint64_t completed_ = 0;  // the highest number durable with all before it
  std::uint64_t carried_ = 0;    // the highest of them that carried data
  std::uint64_t proven_ = 0;     // the highest `acked` that is durable in an entry
  std::vector<WriteQueue::Done> done_;
  std::unique_ptr<WriteQueue> queue_;  // last: it goes before the buffers do
};

}  // namespace tailrace
