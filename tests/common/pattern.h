#pragma once

#include <atomic>

#include "common/damage.h"
#include "format/frame.h"

/// Records whose bytes are known from outside the log, for campaigns that kill writers and cut
/// power, and a checker of what a reader is handed out.
namespace tailrace::test {

inline constexpr std::uint32_t kMostInBatch = 12;

/// What a record must look like, known from seed, sequence and epoch alone; its place in a batch
/// stands in its type, so that a record of 0 bytes can be checked as well.
class Pattern {
 public:
  explicit Pattern(std::uint64_t seed) : seed_(seed), pool_(kPoolBytes, '\0') {
    std::mt19937_64 random(seed);
    for (std::size_t i = 0; i + 8 <= pool_.size(); i += 8) {
      const std::uint64_t word = random();
      std::memcpy(pool_.data() + i, &word, 8);
    }
  }

  static std::uint32_t type(std::uint32_t index, std::uint32_t count) {
    return count << 16 | index;
  }

  [[nodiscard]] std::string_view payload(Sequence sequence, std::uint32_t count,
                                         Epoch epoch) const {
    const std::uint64_t hash = mix(sequence ^ epoch << 40);
    const std::uint64_t most = kSmallSegment - 4096 - kFrameHeaderBytes;
    std::uint64_t size = hash % 16 < 2 ? 0 : hash % 16 < 13 ? hash / 16 % 300 : hash / 16 % 9000;
    if (count == 1 && hash % 512 == 0) size = most - 512 - hash / 512 % 100;  // near a segment
    return std::string_view(pool_).substr(hash / 7 % (kPoolBytes - most), size);
  }

  [[nodiscard]] std::vector<std::string> keys(Sequence sequence, Epoch epoch) const {
    const std::uint64_t hash = mix(sequence ^ epoch << 40 ^ 0x5555);
    std::vector<std::string> names;
    if (hash % 4 == 0) names.push_back("key:" + std::to_string(sequence % 97));
    if (hash % 16 == 0) names.emplace_back(1 + hash % 200, static_cast<char>('a' + hash % 26));
    return names;
  }

 private:
  static constexpr std::size_t kPoolBytes = std::size_t{4} << 20;

  [[nodiscard]] std::uint64_t mix(std::uint64_t value) const {
    value = (value ^ seed_) * 0x9E3779B97F4A7C15;
    value = (value ^ (value >> 29)) * 0xBF58476D1CE4E5B9;
    return value ^ (value >> 32);
  }
  std::uint64_t seed_;
  std::string pool_;
};

/// Which writer gave out a number last, kept outside of the log. Noted before the append: a number
/// given anew (its record was lost before anybody was promised it) belongs to its last writer, and
/// one that was ever promised cannot be given anew without being noticed. A ring: readers lag less.
class Ledger {
 public:
  void note(Sequence sequence, Epoch epoch) { at(sequence) = epoch; }
  [[nodiscard]] Epoch epoch(Sequence sequence) const { return epochs_[sequence % kRecords].load(); }

 private:
  static constexpr std::size_t kRecords = std::size_t{1} << 22;
  std::atomic<Epoch>& at(Sequence sequence) { return epochs_[sequence % kRecords]; }
  std::atomic<Epoch> epochs_[kRecords];
};

/// Checks record after record; a message as soon as something is wrong.
class Checker {
 public:
  Checker(const Pattern& pattern, const Ledger& ledger) : pattern_(&pattern), ledger_(&ledger) {}

  [[nodiscard]] std::string check(const RecordView& record) {
    const std::string wrong = what_is_wrong(record);
    if (!wrong.empty()) {
      return "record " + std::to_string(record.sequence) + " of epoch " +
             std::to_string(record.epoch) + ": " + wrong;
    }
    const std::uint32_t index = record.type & 0xffff;
    ++next_;
    known_ = true;
    count_ = record.type >> 16;
    index_ = index + 1 < count_ ? index + 1 : 0;
    epoch_ = record.epoch;
    timestamp_ns_ = record.timestamp_ns;
    return {};
  }

  [[nodiscard]] Sequence next() const { return next_; }
  [[nodiscard]] bool in_batch() const { return index_ != 0; }
  void jump(Sequence sequence) {
    next_ = sequence;
    known_ = false;
    epoch_ = 0;
    timestamp_ns_ = 0;
  }

 private:
  [[nodiscard]] std::string what_is_wrong(const RecordView& record) const {
    const std::uint32_t index = record.type & 0xffff;
    const std::uint32_t count = record.type >> 16;
    if (record.sequence != next_) return "expected number " + std::to_string(next_);
    if (count == 0 || index >= count) return "impossible type";
    if (known_ && index != index_) return "another place in its batch was expected";
    if (known_ && index != 0 && count != count_) return "of another batch";
    if (known_ && index != 0 && record.epoch != epoch_) return "a batch of two epochs";
    if (record.batch_goes_on != (index + 1 < count)) return "wrong batch flag";
    if (const Epoch given = ledger_->epoch(record.sequence); record.epoch != given) {
      return "this number was given out in epoch " + std::to_string(given);
    }
    if (as_text(record.payload) != pattern_->payload(record.sequence, count, record.epoch)) {
      return "wrong payload";
    }
    if (record.timestamp_ns < timestamp_ns_) return "its time is before the one before";
    if (record.epoch < epoch_) return "its epoch is before the one before";
    if (!record.keys.empty() && !right_keys(record)) return "wrong keys";
    return {};
  }

  [[nodiscard]] bool right_keys(const RecordView& record) const {
    std::vector<std::string> names;
    for (const KeyView key : record.keys) names.emplace_back(key.bytes);
    return names == pattern_->keys(record.sequence, record.epoch);
  }

  const Pattern* pattern_;
  const Ledger* ledger_;
  Sequence next_ = 1;
  bool known_ = true;
  std::uint32_t index_ = 0;
  std::uint32_t count_ = 1;
  Epoch epoch_ = 0;
  std::int64_t timestamp_ns_ = 0;
};

/// Appends what the pattern says, in every way there is: single records, batches, claims.
class PatternAppender {
 public:
  PatternAppender(const Pattern& pattern, Ledger& ledger, std::uint64_t seed)
      : pattern_(pattern), ledger_(ledger), random_(seed) {}

  /// One record or batch, or none (an aborted claim). Returns the last sequence.
  Result<Sequence> append(Writer& writer) {
    const Sequence next = writer.last_sequence() + 1;
    const std::uint64_t what = random_() % 15;
    if (what < 7) return single(writer, next);
    if (what < 12) {
      return batch(writer, next, 1 + static_cast<std::uint32_t>(random_() % kMostInBatch));
    }
    return claim(writer, next);
  }

 private:
  Result<Sequence> expect(Sequence got, Sequence wanted) {
    if (got == wanted) return got;
    return fail(Error(errc::corrupt, "an append gave another number").sequence(got));
  }

  Result<Sequence> single(Writer& writer, Sequence next) {
    ledger_.note(next, writer.epoch());
    auto done =
        writer.append(as_bytes(pattern_.payload(next, 1, writer.epoch())), Pattern::type(0, 1));
    if (!done) return fail(done.error());
    return expect(done->sequence, next);
  }

  Result<Sequence> batch(Writer& writer, Sequence next, std::uint32_t count) {
    const Epoch epoch = writer.epoch();
    std::vector<std::vector<std::string>> names;
    std::vector<std::vector<std::string_view>> views;
    std::vector<RecordInput> records;
    for (std::uint32_t i = 0; i < count; ++i) {
      ledger_.note(next + i, epoch);
      names.push_back(pattern_.keys(next + i, epoch));
      views.emplace_back(names.back().begin(), names.back().end());
    }
    for (std::uint32_t i = 0; i < count; ++i) {
      records.push_back(
          {as_bytes(pattern_.payload(next + i, count, epoch)), Pattern::type(i, count), views[i]});
    }
    auto done = writer.append_batch(records);
    if (!done) return fail(done.error());
    if (done->first_sequence != next) return expect(done->first_sequence, next);
    return expect(done->last_sequence, next + count - 1);
  }

  Result<Sequence> claim(Writer& writer, Sequence next) {
    ledger_.note(next, writer.epoch());
    const std::string_view payload = pattern_.payload(next, 1, writer.epoch());
    const auto names = pattern_.keys(next, writer.epoch());
    const std::vector<std::string_view> views(names.begin(), names.end());
    RecordInput header;
    header.type = Pattern::type(0, 1);
    header.keys = views;
    const std::size_t more = payload.size() < 20'000 ? random_() % 3000 : 0;
    auto claimed = writer.claim(payload.size() + more, header);
    if (!claimed) {
      if (claimed.error().code() == errc::too_large) return next - 1;
      return fail(claimed.error());
    }
    std::memset(claimed->payload().data(), 0xEE, claimed->payload().size());
    if (random_() % 4 == 0) return next - 1;  // aborted
    if (!payload.empty()) std::memcpy(claimed->payload().data(), payload.data(), payload.size());
    auto done = claimed->commit(payload.size());
    if (!done) return fail(done.error());
    return expect(done->sequence, next);
  }

  const Pattern& pattern_;
  Ledger& ledger_;
  std::mt19937_64 random_;
};

/// Raises, never lowers.
inline void raise(std::atomic<Sequence>& word, Sequence value) {
  Sequence seen = word.load();
  while (seen < value && !word.compare_exchange_weak(seen, value)) {
  }
}

/// The first thing that went wrong, told by whichever process saw it.
class Failure {
 public:
  void tell(const std::string& message) {
    if (claimed_.exchange(true)) return;
    std::snprintf(why_, sizeof why_, "%s", message.c_str());
    told_ = true;
  }
  explicit operator bool() const { return told_; }
  [[nodiscard]] const char* why() const { return why_; }

 private:
  std::atomic<bool> claimed_{false};
  std::atomic<bool> told_{false};
  char why_[1024]{};
};

template <class Work>
pid_t start_process(Work work) {
  const pid_t child = fork_child();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    work();
    ::_exit(0);
  }
  return child;
}

}  // namespace tailrace::test
