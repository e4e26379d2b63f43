#pragma once

#include <atomic>
#include <thread>

#include "common/damage.h"
#include "common/failing_calls.h"

/// The lives of a log that every_call_test.cc lets go wrong.
namespace tailrace::test {

inline constexpr unsigned kHangSeconds = 40;
inline constexpr int kTries = 3;

/// What a record holds, known from its sequence and size.
inline std::string payload_of(Sequence sequence, std::size_t size_bytes) {
  std::string payload(size_bytes, static_cast<char>('a' + sequence % 26));
  const std::string number = std::to_string(sequence);
  payload.replace(0, std::min(size_bytes, number.size()), number);
  return payload;
}

/// Which call fails, and how.
struct Plan {
  std::uint64_t first = 0;  // from 1
  bool for_ever = false;
  unsigned choice = 0;  // of the errors that fit
};

/// How a run with a plan went; shared with the process that did it.
struct Report {
  std::atomic<std::uint64_t> calls{0};
  std::atomic<bool> failed_one{false};  // the plan was carried out
  std::atomic<int> error{0};            // 0: cut short
  std::atomic<int> call{0};             // the first that failed
  std::atomic<bool> harmless{false};    // nobody may have noticed
};

/// Half of it, in whole blocks where the write may be one past the page cache.
inline std::size_t half_of(const CallInfo& info) {
  if (info.size_bytes >= 2 * kJournalBlockBytes) {
    return info.size_bytes / 2 / kJournalBlockBytes * kJournalBlockBytes;
  }
  const bool blocks = info.call == Call::write_durably || info.call == Call::ring_write;
  return blocks ? 0 : info.size_bytes / 2;
}

class Failing {
 public:
  Failing(const Plan& plan, Report& report) : plan_(plan), report_(report) {}
  Fate operator()(const CallInfo& info) {
    const std::uint64_t number = ++report_.calls;
    const bool now = plan_.for_ever ? number >= plan_.first : number == plan_.first;
    if (plan_.first == 0 || !now) return {};
    std::vector<int> errors = errors_of(info.call);
    if (plan_.for_ever) {
      std::erase_if(errors, [&](int error) { return means_once_more(info.call, error); });
    }
    const bool may_cut = can_be_cut_short(info.call) && half_of(info) > 0 && !plan_.for_ever;
    const unsigned pick = plan_.choice % static_cast<unsigned>(errors.size() + (may_cut ? 1 : 0));
    Fate fate;
    if (pick < errors.size()) {
      fate.error = errors[pick];
    } else {
      fate.at_most = half_of(info);
    }
    if (!report_.failed_one.exchange(true)) {
      report_.call = static_cast<int>(info.call);
      report_.error = fate.error;
      report_.harmless = fate.error == 0 || means_once_more(info.call, fate.error);
    }
    return fate;
  }

 private:
  Plan plan_;
  Report& report_;
};

/// The life of a log under a plan, in a process of its own.
class Life {
 public:
  Life(std::filesystem::path path, const Plan& plan, Report& report)
      : path_(std::move(path)),
        plan_(plan),
        report_(report),
        failing_(plan, report),
        hook_(std::ref(failing_)) {}

  std::vector<std::size_t> sizes;  // of the records that are committed

  void fail_from_now_on() { set_hook(&hook_); }
  void all_is_well() { set_hook(nullptr); }

  /// A log is made, written, rolled over, closed, opened again.
  void begin_a_log() {
    CreateOptions options;
    options.segment_size_bytes = kSmallSegment;
    options.journal_size_bytes = kMinJournalSizeBytes;
    bool made = false;
    for (int i = 0; i < kTries && !made; ++i) {
      auto created = create_log(path_, options);
      made = created || created.error().code() == errc::exists;
      if (!made) look(created);
    }
    open_reader();
    for (int i = 0; i < kTries && !reader_; ++i) open_reader();
    write_one_epoch();
    open_writer();
    close_writer();
  }

  /// A log that a crash left is opened, read, written and closed.
  void go_on_with_a_log() {
    open_reader();
    look(inspect(path_));
    read_on();
    write_one_epoch();
    look(read_stats(path_));
    look(verify(path_));
  }

  /// Without failures: everything is there, and goes on.
  void check() {
    CreateOptions options;
    options.segment_size_bytes = kSmallSegment;
    if (!std::filesystem::exists(path_)) must(create_log(path_, options));
    for (const auto& entry : std::filesystem::directory_iterator(path_.parent_path())) {
      // (Unless nothing could be removed any more.)
      EXPECT_TRUE(plan_.for_ever || entry.path().filename() == "log") << "left behind: " << entry;
    }
    read_on();
    const auto before = must(verify(path_));
    EXPECT_NE(before.verdict, Verdict::corrupt) << before.file << ": " << before.detail;
    Writer writer = must(Writer::open(path_));
    EXPECT_EQ(writer.last_sequence(), sizes.size());
    EXPECT_GE(writer.last_sequence(), durable_);
    const auto appended = must(writer.append(as_bytes(payload_of(sizes.size() + 1, 77))));
    EXPECT_EQ(appended.sequence, sizes.size() + 1);
    sizes.push_back(77);
    must(writer.sync());
    must(writer.close());
    read_on();
    if (reader_) {
      EXPECT_EQ(seen_, sizes.size()) << "the reader that was open did not go on";
    }
    reader_.reset();
    seen_ = 0;
    reader_ = must(Reader::open(path_));
    read_on();
    EXPECT_EQ(seen_, sizes.size());
    const auto report = must(verify(path_));
    EXPECT_EQ(report.verdict, Verdict::ok) << report.file << ": " << report.detail;
    EXPECT_EQ(report.records, sizes.size());
    if (report_.harmless) {
      EXPECT_EQ(noticed_, "") << "what only means \"once more\"";
    }
  }

 private:
  /// Success, or an error that the documentation knows.
  template <class T>
  bool look(const Result<T>& result) {
    if (result) return true;
    const Error& error = result.error();
    noticed_ += error.message() + "; ";
    switch (error.code()) {
      case errc::io:
      case errc::no_space:
      case errc::permission:
      case errc::poisoned: break;
      case errc::not_found: EXPECT_FALSE(std::filesystem::exists(path_)) << error.message(); break;
      default: ADD_FAILURE() << to_string(error.code()) << ": " << error.message();
    }
    EXPECT_NE(error.path(), "") << error.message();
    return false;
  }

  void open_reader() {
    auto reader = Reader::open(path_);
    if (look(reader)) reader_ = std::move(*reader);
  }

  void read_on() {
    if (!reader_) return;
    RecordView record;
    Outcome outcome;
    while ((outcome = reader_->next(record)) == Outcome::record) {
      ++seen_;
      ASSERT_EQ(record.sequence, seen_);
      ASSERT_LE(seen_, sizes.size());
      ASSERT_EQ(as_text(record.payload), payload_of(seen_, sizes[seen_ - 1]));
    }
    EXPECT_EQ(outcome, Outcome::end) << reader_->error().message();
  }

  bool open_writer() {
    WriterOptions options;
    options.sync = SyncPolicy::none;
    options.populate_ahead_bytes = std::size_t{1} << 20;
    for (int i = 0; i < kTries; ++i) {
      auto writer = Writer::open(path_, options);
      if (!look(writer)) continue;
      writer_ = std::move(*writer);
      poisoned_ = false;
      EXPECT_EQ(writer_->last_sequence(), sizes.size());
      return true;
    }
    return false;
  }

  void close_writer() {
    if (!writer_) return;
    if (look(writer_->close())) durable_ = sizes.size();
    writer_.reset();
  }

  /// Once poisoned, for good.
  template <class T>
  bool look_at_answer(const Result<T>& result) {
    const bool well = look(result);
    EXPECT_FALSE(well && poisoned_) << "a poisoned writer said yes";
    if (!well && result.error().code() == errc::poisoned) poisoned_ = true;
    if (!well && poisoned_) {
      EXPECT_EQ(result.error().code(), errc::poisoned);
    }
    return well;
  }

  void append(std::size_t size) {
    for (int i = 0; i < kTries; ++i) {
      auto done = writer_->append(as_bytes(payload_of(sizes.size() + 1, size)));
      if (!look_at_answer(done)) continue;
      EXPECT_EQ(done->sequence, sizes.size() + 1);
      sizes.push_back(size);
      last_ = done->position;
      return;
    }
  }

  void append_batch(std::vector<std::size_t> batch) {
    std::vector<std::string> payloads;
    std::vector<RecordInput> records;
    for (const std::size_t size : batch) {
      payloads.push_back(payload_of(sizes.size() + payloads.size() + 1, size));
    }
    for (const std::string& payload : payloads) records.emplace_back().payload = as_bytes(payload);
    auto done = writer_->append_batch(records);
    if (!look_at_answer(done)) return;
    EXPECT_EQ(done->first_sequence, sizes.size() + 1);
    sizes.insert(sizes.end(), batch.begin(), batch.end());
    EXPECT_EQ(done->last_sequence, sizes.size());
  }

  void append_claim(std::size_t size) {
    auto claim = writer_->claim(size + 100);
    if (!look_at_answer(claim)) return;
    const std::string payload = payload_of(sizes.size() + 1, size);
    std::memcpy(claim->payload().data(), payload.data(), size);
    if (look_at_answer(claim->commit(size))) sizes.push_back(size);
  }

  void sync() {
    if (look_at_answer(writer_->sync())) durable_ = sizes.size();
  }

  /// Another thread waits, for the turn or for the one that has it.
  void wait_in_another_thread() {
    const Sequence asked = sizes.size();
    std::optional<Result<void>> answer;
    std::thread waiter;
    {
      const Spared not_the_engines;
      waiter = std::thread(
          [&] { answer = writer_->wait_durable(last_, std::chrono::seconds(kHangSeconds / 2)); });
    }
    sync();
    waiter.join();
    if (look_at_answer(*answer)) durable_ = std::max(durable_, asked);
  }

  void poll() {
    look(writer_->commit_event_fd());  // no acknowledgement: poisoned or not
    for (int i = 0; i < 20; ++i) {
      auto polled = writer_->poll_commit();
      if (!look_at_answer(polled)) return;
      if (*polled >= writer_->committed()) {
        durable_ = sizes.size();
        return;
      }
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  }

  void write_one_epoch() {
    if (!open_writer()) return;
    for (int i = 0; i < 3; ++i) append(100);
    sync();
    append_batch({10, 200, 3000});
    append_claim(500);
    poll();
    append(1000);
    wait_in_another_thread();
    read_on();
    // Over the segment's end, in pieces that are too large for one entry of the journal.
    for (int i = 0; i < 11; ++i) append(100'000);
    sync();
    append(50);
    read_on();
    close_writer();
  }

  std::filesystem::path path_;
  Plan plan_;
  Report& report_;
  Failing failing_;
  Hook hook_;
  std::optional<Reader> reader_;
  std::optional<Writer> writer_;
  Sequence seen_ = 0;
  Sequence durable_ = 0;
  Position last_ = 0;
  bool poisoned_ = false;
  std::string noticed_;
};

}  // namespace tailrace::test
