#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <thread>

#include "common/damage.h"
#include "common/failing_calls.h"
#include "format/activity.h"
#include "format/segment_header.h"

/// A disk whose writes and syncs are slow, or fail, as a test says; it counts them.
/// To be made before the log is opened and to outlive it.
namespace tailrace::test {

enum class Io : std::uint8_t { journal_entry, journal_anchor, segment_sync };

class BrokenDisk {
 public:
  /// What becomes of one: an errno, 0 = nothing. May sleep.
  using Rule = std::function<int(Io)>;

  BrokenDisk() : hook_(std::ref(*this)) { set_hook(&hook_); }
  ~BrokenDisk() { set_hook(nullptr); }
  BrokenDisk(const BrokenDisk&) = delete;
  BrokenDisk& operator=(const BrokenDisk&) = delete;

  /// From now on; the threads of a writer may be running.
  void rule(Rule rule) {
    const std::lock_guard lock(mutex_);
    rule_ = std::make_shared<const Rule>(std::move(rule));
  }
  [[nodiscard]] int count(Io io) const { return counts_[static_cast<std::size_t>(io)]; }
  /// All that write or sync.
  [[nodiscard]] int total() const { return counts_[0] + counts_[1] + counts_[2]; }
  /// Of them, how many have begun and not ended. (Sleeping in the rule is part of it.)
  [[nodiscard]] int under_way() const { return under_way_; }

  Fate operator()(const CallInfo& info) {
    const auto io = kind_of(info);
    if (!io) return {};
    ++counts_[static_cast<std::size_t>(*io)];
    std::shared_ptr<const Rule> rule;
    {
      const std::lock_guard lock(mutex_);
      rule = rule_;
    }
    ++under_way_;
    const int error = rule && *rule ? (*rule)(*io) : 0;
    --under_way_;
    return {error, 0};
  }

 private:
  static std::optional<Io> kind_of(const CallInfo& info) {
    if (info.call == Call::ring_write || info.call == Call::write_durably) {
      if (file_of(info) != "journal") return {};
      return info.offset < kJournalRingAt ? Io::journal_anchor : Io::journal_entry;
    }
    if (info.call == Call::msync && file_of(info).ends_with(".seg")) return Io::segment_sync;
    return {};
  }

  Hook hook_;
  std::mutex mutex_;
  std::shared_ptr<const Rule> rule_;
  std::atomic<int> counts_[3]{};
  std::atomic<int> under_way_{0};
};

inline void sleep_ms(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

/// How far the segments of a log are synced, as its newest writer knew.
inline Position synced_to(const std::filesystem::path& log) {
  return peek<Position>(log / "control", kActivityAt + offsetof(Activity, synced_to));
}

/// What a kernel may do after a failed sync: the pages that were not synced are gone, the disk
/// holds what it held before. (Here: nothing.)
inline void drop_unsynced_pages(const std::filesystem::path& log, std::uint64_t segment_size) {
  const Position from = synced_to(log);
  for (const auto& entry : std::filesystem::directory_iterator(log / "segments")) {
    if (entry.path().extension() != ".seg") continue;
    const Position base = std::stoull(entry.path().stem().string());
    if (base + segment_size <= from) continue;
    const std::uint64_t first = from > base ? from - base : 0;
    poke(entry.path(), first, std::string(segment_size - first, '\0'));
  }
}

/// A new log with small segments and the smallest journal.
inline void make_small_log(const std::filesystem::path& path) {
  CreateOptions options;
  options.segment_size_bytes = kSmallSegment;
  options.journal_size_bytes = kMinJournalSizeBytes;
  must(create_log(path, options));
}

}  // namespace tailrace::test
