#pragma once

#include <chrono>
#include <thread>

#include "common/temp_log.h"
#include "power/disk_model.h"

namespace tailrace::test::power {

inline constexpr std::uint64_t kSegment = kMinSegmentSizeBytes;
inline constexpr std::uint64_t kJournal = std::uint64_t{256} << 10;

/// What a writer is told to do, at random but for its character.
class Work {
 public:
  enum class Kind { small_commits, mixed, bulk, rests };

  Work(Kind kind, Random& random) : kind_(kind), random_(random) {}

  [[nodiscard]] WriterOptions options() {
    WriterOptions options;
    constexpr SyncPolicy kPolicies[] = {SyncPolicy::none, SyncPolicy::interval, SyncPolicy::bytes,
                                        SyncPolicy::continuous};
    options.sync = kPolicies[below(random_, std::size(kPolicies))];
    options.sync_interval = std::chrono::milliseconds(1 + below(random_, 20));
    options.sync_bytes = std::uint64_t{1} << (8 + below(random_, 11));
    return options;
  }

  /// Appends and commits. Every record that was taken stands in records(), in order.
  void run(Writer& writer, std::uint64_t steps, std::uint64_t bytes) {
    const Position until = writer.committed() + bytes;
    for (std::uint64_t i = 0; i < steps && writer.committed() < until; ++i) step(writer);
  }

  [[nodiscard]] const std::vector<std::string>& records() const { return records_; }
  void start_with(std::vector<std::string> records) { records_ = std::move(records); }
  [[nodiscard]] const std::map<Position, Sequence>& ends() const { return ends_; }

 private:
  [[nodiscard]] std::size_t size() {
    const std::uint64_t which = below(random_, 100);
    const bool bulk = kind_ == Kind::bulk || kind_ == Kind::rests;
    if (kind_ == Kind::small_commits || which < (bulk ? 20 : 60)) return below(random_, 400);
    if (which < (bulk ? 40 : 85)) return below(random_, 5000);
    if (which < (bulk ? 85 : 98)) return below(random_, 60'000);
    return below(random_, 250'000);
  }
  [[nodiscard]] std::string payload() { return payload(size()); }
  [[nodiscard]] std::string payload(std::size_t size_bytes) {
    std::string bytes(size_bytes, '\0');
    Random fill(random_());
    for (std::size_t at = 0; at < bytes.size(); at += 8) {
      const std::uint64_t word = fill();
      std::memcpy(bytes.data() + at, &word, std::min<std::size_t>(8, bytes.size() - at));
    }
    return bytes;
  }

  void step(Writer& writer) {
    Disk* const disk = Disk::active().load();
    if (disk != nullptr && below(random_, 4) == 0) disk->moment();
    const std::uint64_t which = below(random_, 100);
    if (which < 60) {
      append(writer);
    } else if (which < 72) {
      append_batch(writer);
    } else if (which < 80) {
      claim(writer);
    } else if (which < 95 || kind_ != Kind::rests) {
      static_cast<void>(writer.poll_commit());
    } else {
      burst_after_rest(writer);
    }
    const std::uint64_t often = kind_ == Kind::small_commits ? 2 : kind_ == Kind::mixed ? 5 : 12;
    if (below(random_, often) == 0) must(writer.sync());
    if (below(random_, 40) == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  /// More than an entry takes, just when the writer's threads think that it rests.
  void burst_after_rest(Writer& writer) {
    append(writer);
    must(writer.sync());
    std::this_thread::sleep_for(std::chrono::microseconds(48'000 + below(random_, 2500)));
    for (int i = 0; i < 4; ++i) append(writer, 20'000 + below(random_, 60'000));
    if (below(random_, 2) == 0) std::this_thread::sleep_for(std::chrono::milliseconds(3));
  }
  void append(Writer& writer) { append(writer, size()); }
  void append(Writer& writer, std::size_t size_bytes) {
    const std::string bytes = payload(size_bytes);
    const Appended done = must(writer.append(as_bytes(bytes)));
    note({bytes}, done.end);
    if (below(random_, 10) == 0) {
      must(writer.wait_durable(done.position, std::chrono::nanoseconds::max()));
    }
  }
  void append_batch(Writer& writer) {
    std::vector<std::string> bytes(2 + below(random_, 6));
    std::vector<RecordInput> inputs(bytes.size());
    std::size_t total = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      bytes[i] = payload();
      total += bytes[i].size() + 64;
      inputs[i].payload = as_bytes(bytes[i]);
    }
    if (total > writer.max_payload_bytes()) return;
    note(bytes, must(writer.append_batch(inputs)).end);
  }
  void claim(Writer& writer) {
    const std::string bytes = payload();
    Claim claim = must(writer.claim(bytes.size() + below(random_, 100)));
    std::memcpy(claim.payload().data(), bytes.data(), bytes.size());
    if (Disk* const disk = Disk::active().load(); disk != nullptr && below(random_, 2) == 0) {
      disk->moment();
    }
    if (below(random_, 3) == 0) {
      claim.abort();
    } else {
      note({bytes}, must(claim.commit(bytes.size())).end);
    }
  }
  void note(const std::vector<std::string>& bytes, Position end) {
    records_.insert(records_.end(), bytes.begin(), bytes.end());
    ends_[end] = records_.size();
  }

  Kind kind_;
  Random& random_;
  std::vector<std::string> records_;
  std::map<Position, Sequence> ends_;
};

}  // namespace tailrace::test::power
