#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "tailrace/types.h"

namespace tailrace {

/// Durations in buckets that grow with them: four to each power of two, so a percentile is right to
/// a fifth. Bucket i holds durations below bucket_limit(i + 1).
inline constexpr std::size_t kLatencyBuckets = 160;  // up to about 18 minutes

[[nodiscard]] constexpr std::size_t latency_bucket(std::uint64_t ns) noexcept {
  if (ns < 4) return static_cast<std::size_t>(ns);
  const auto power = static_cast<std::size_t>(std::bit_width(ns)) - 1;
  const std::size_t bucket = (power - 1) * 4 + ((ns >> (power - 2)) & 3);
  return bucket < kLatencyBuckets ? bucket : kLatencyBuckets - 1;
}

[[nodiscard]] constexpr std::uint64_t latency_bucket_start(std::size_t bucket) noexcept {
  if (bucket < 4) return bucket;
  return (4 + (bucket & 3)) << (bucket / 4 - 1);
}

/// What a writer counts since it opened the log; in `control`, so that any process may look.
/// Written by the writer's background threads, and by whoever drives a commit; never on append.
/// Format: docs/format.md#control
struct Activity {
  Epoch epoch;            // whose counts these are
  std::uint64_t backend;  // kBackend...
  std::uint64_t commits;
  std::uint64_t commit_bytes;
  std::uint64_t large_commits;   // too large for an entry: most of it was fsynced first
  std::uint64_t waits_for_room;  // commits that waited for the journal's ring
  std::uint64_t syncs;           // fsyncs of segments behind the journal
  std::uint64_t close_syncs;     // of these, with the page under the writer's hands
  std::uint64_t journal_used_bytes;
  Position synced_to;
  std::uint64_t segments_ready;
  std::uint64_t segments_late;
  std::uint64_t segments_removed;  // by retention or by hand
  std::uint64_t clock_offset_ns;   // wall minus boot time as age retention believes it, signed
  std::uint64_t retention;         // kRetention...
  std::uint64_t reserved[1];
  std::uint64_t latency[kLatencyBuckets];  // of commits, from submission to durable
};
static_assert(sizeof(Activity) == 128 + 8 * kLatencyBuckets);
static_assert(offsetof(Activity, latency) == 128);

inline constexpr std::size_t kActivityAt = 4096;  // in `control`
inline constexpr std::uint64_t kBackendIoUring = 1;
inline constexpr std::uint64_t kBackendDirect = 2;
inline constexpr std::uint64_t kRetentionWell = 0;     // or not asked for
inline constexpr std::uint64_t kRetentionHeld = 1;     // a consumer needs what would go
inline constexpr std::uint64_t kRetentionPaused = 2;   // by age: the wall clock has jumped
inline constexpr std::uint64_t kRetentionFailing = 3;  // files or anchors cannot be written or read

/// Access to the counters; each is written by one thread at a time, and read at any time.
class ActivityView {
 public:
  ActivityView() = default;
  explicit ActivityView(std::byte* control) noexcept : at_(control + kActivityAt) {}

  [[nodiscard]] std::uint64_t get(std::uint64_t Activity::*counter) const noexcept {
    return shared<std::uint64_t>(&(here()->*counter)).load(std::memory_order_relaxed);
  }
  void set(std::uint64_t Activity::*counter, std::uint64_t value) const noexcept {
    shared<std::uint64_t>(&(here()->*counter)).store(value, std::memory_order_relaxed);
  }
  void add(std::uint64_t Activity::*counter, std::uint64_t value) const noexcept {
    set(counter, get(counter) + value);
  }
  [[nodiscard]] std::uint64_t latency(std::size_t bucket) const noexcept {
    return shared<std::uint64_t>(&here()->latency[bucket]).load(std::memory_order_relaxed);
  }
  void add_latency(std::uint64_t ns) const noexcept {
    auto word = shared<std::uint64_t>(&here()->latency[latency_bucket(ns)]);
    word.store(word.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  /// All counters begin again at 0.
  void reset() const noexcept {
    for (std::size_t i = 0; i < sizeof(Activity) / 8; ++i) {
      shared<std::uint64_t>(at_ + i * 8).store(0, std::memory_order_relaxed);
    }
  }

 private:
  [[nodiscard]] Activity* here() const noexcept { return reinterpret_cast<Activity*>(at_); }
  std::byte* at_ = nullptr;
};

}  // namespace tailrace
