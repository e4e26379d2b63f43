// labels: slow
// link: -Wl,--wrap=_ZN8tailrace17make_thread_queueEiRKSt6vectorINS_10WriteQueue6BufferESaIS2_EE
//
// The power goes, thousands of times a second: every system call of a writer passes a model of the
// disk (disk_model.h), which takes notes of what is stable and what is only written. From each cut
// images are made that the disk may hold, and each is recovered.
#include <gmock/gmock.h>

#include <chrono>
#include <thread>

#include "common/damage.h"
#include "log/recovery.h"
#include "log/segment_file.h"
#include "power/image.h"
#include "power/interposed_calls.h"
#include "power/parallel_queue.h"

// The engine asks for its thread queue and gets ours (--wrap).
std::unique_ptr<tailrace::WriteQueue>
parallel_queue(int fd, const std::vector<tailrace::WriteQueue::Buffer>& buffers) __asm__(
    "__wrap__ZN8tailrace17make_thread_queueEiRKSt6vectorINS_10WriteQueue6BufferESaIS2_EE");
std::unique_ptr<tailrace::WriteQueue> parallel_queue(
    int fd, const std::vector<tailrace::WriteQueue::Buffer>& buffers) {
  return std::make_unique<tailrace::test::power::ParallelQueue>(fd, buffers);
}

namespace tailrace::test::power {
namespace {

constexpr std::uint64_t kSegment = kMinSegmentSizeBytes;
constexpr std::uint64_t kJournal = std::uint64_t{256} << 10;
constexpr std::uint64_t kMostExhaustive = std::uint64_t{1} << 12;

/// The log as its writer left it in the end: what recovery finds may only be the begin of it.
struct Reference {
  std::vector<std::byte> bytes;
  std::map<Position, Sequence> ends;  // of whole units: the last sequence before
  std::vector<std::string> payloads;
};

Reference read_reference(const std::filesystem::path& path) {
  Reference reference;
  const LogFiles files = must(LogFiles::open(path));
  Cursor end;
  reference.ends[0] = 0;
  for (const std::uint64_t number : must(files.list_segments())) {
    const SegmentFile segment = must(SegmentFile::open(files, number));
    const std::byte* const bytes = segment.mapping.data();
    reference.bytes.insert(reference.bytes.end(), bytes, bytes + segment.mapping.size());
    if (!segment.header || (number > 0 && !links(*segment.header, end))) break;
    end = cursor_at(*segment.header);
    reference.ends[end.position] = end.sequence - 1;
    SegmentWalk walk(bytes, segment.mapping.size(), files.meta, end);
    while (!walk.done() && walk.next() == FrameState::valid) {
      end = walk.at();
      reference.ends[end.position] = end.sequence - 1;
    }
    if (!walk.done()) break;
  }
  Reader reader = must(Reader::open(path));
  reference.payloads = payloads(reader);
  return reference;
}

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

/// Recovers images and judges what comes out.
class Trial {
 public:
  Trial(const std::filesystem::path& log, std::filesystem::path scratch)
      : meta_bytes_(file_bytes(log / "log.meta")), scratch_(std::move(scratch)) {}

  /// Lays the image out and recovers it with the engine's recover(). Returns where the log then
  /// ends, or nothing and adds a failure.
  std::optional<Position> check(const Image& image, const Reference& reference,
                                Position acknowledged) {
    if (!bench_ || bench_->layout.spoiled()) {
      bench_.reset();
      bench_.emplace(scratch_ / "image", meta_bytes_);
    }
    Layout& layout = bench_->layout;
    layout.put(image);
    bench_->open();
    ImageWatch watch;
    watch.written = [&](ino_t inode, std::uint64_t from, std::uint64_t to) {
      layout.written(inode, from, to);
    };
    watch.remove = [&](int, const std::string& name) { return layout.remove(name); };
    watch.renamed = [&] { layout.spoil(); };
    ImageWatch::active() = &watch;
    auto recovered = recover(*bench_->files, *bench_->control, *bench_->journal);
    ImageWatch::active() = nullptr;
    ++images_;
    if (!recovered) return complain(image, acknowledged, recovered.error().message());
    const Position end = recovered->end.position;
    const auto found = reference.ends.find(end);
    if (end < acknowledged) {
      return complain(image, acknowledged,
                      "acknowledged records are lost, it ends at " + std::to_string(end));
    }
    if (found == reference.ends.end() || found->second != recovered->end.sequence - 1) {
      return complain(image, acknowledged,
                      "no whole number of batches: ends at " + std::to_string(end));
    }
    if (!layout.spoiled() && !same(reference, end)) {
      return complain(image, acknowledged,
                      "other bytes than appended, or something behind " + std::to_string(end));
    }
    return end;
  }

  /// Lays the image out for a writer of its own.
  std::unique_ptr<Layout> lay_out(const Image& image, const std::string& name) {
    auto layout = std::make_unique<Layout>(scratch_ / name, meta_bytes_);
    layout->put(image);
    return layout;
  }

  [[nodiscard]] std::uint64_t images() const { return images_; }
  [[nodiscard]] unsigned failures() const { return failures_; }

 private:
  struct Bench {
    Bench(std::filesystem::path path, const std::string& meta) : layout(std::move(path), meta) {}
    /// The recovery's files are opened once; the images change beneath them.
    void open() {
      if (files) return;
      files.emplace(must(LogFiles::open(layout.path())));
      journal.emplace(must(JournalFile::open_to_read(*files)));
      control.emplace(must(ControlFile::open(*files, Access::write)));
    }
    Layout layout;
    std::optional<LogFiles> files;
    std::optional<JournalFile> journal;
    std::optional<ControlFile> control;
  };

  /// Everything before `end` is as it was appended, nothing but zeros is behind it.
  bool same(const Reference& reference, Position end) const {
    const std::uint64_t last = end / kSegment;
    const std::uint64_t first = images_ % 16 == 0 || last < 1 ? 0 : last - 1;
    for (std::uint64_t number = first;; ++number) {
      const std::byte* const bytes = bench_->layout.segment(bench_->files->segment_name(number));
      const Position base = number * kSegment;
      if (base >= end) return bytes == nullptr;
      if (bytes == nullptr) return false;
      const std::uint64_t in_segment = std::min(end - base, kSegment);
      if (std::memcmp(bytes, reference.bytes.data() + base, in_segment) != 0) return false;
      for (std::uint64_t at = in_segment; at < kSegment; at += kPageBytes) {
        const std::uint64_t size = std::min<std::uint64_t>(kPageBytes, kSegment - at);
        if (std::memcmp(bytes + at, zero_page()->data(), size) != 0) return false;
      }
    }
  }

  std::optional<Position> complain(const Image& image, Position acknowledged,
                                   const std::string& what) {
    const std::string name = "tailrace-cut-" + std::to_string(::getpid());
    const auto kept = std::filesystem::temp_directory_path() / name;
    if (failures_++ == 0) {
      auto layout = std::make_unique<Layout>(kept, meta_bytes_);
      layout->put(image);
      static_cast<void>(layout.release());  // stays, to be looked at
    }
    ADD_FAILURE() << what << "; acknowledged: " << acknowledged << "; the first such image is in "
                  << kept;
    return {};
  }

  std::string meta_bytes_;
  std::filesystem::path scratch_;
  std::optional<Bench> bench_;
  std::uint64_t images_ = 0;
  unsigned failures_ = 0;
};

/// How many of what, for the line at the end.
struct Counts {
  std::uint64_t images = 0;
  std::uint64_t second_images = 0;  // of them, of a second cut
  std::uint64_t cuts = 0;
  std::uint64_t exhaustive = 0;
  std::uint64_t writers = 0;  // opened on an image
};

class Campaign {
 public:
  explicit Campaign(std::uint64_t seed) : random_(seed) {}

  /// One writer's life, its cuts, their images. `images`: about how many.
  void round(Work::Kind kind, std::uint64_t images) {
    TempDir dir;
    const auto path = dir.path() / "log";
    CreateOptions create;
    create.segment_size_bytes = kSegment;
    create.journal_size_bytes = kJournal;
    must(create_log(path, create));
    Work work(kind, random_);
    constexpr std::size_t kCuts = 40;
    Disk disk(path, kCuts, random_());
    const std::uint64_t lives = 1 + below(random_, 3);
    for (std::uint64_t i = 0; i < lives; ++i) {
      Writer writer = must(Writer::open(path, work.options()));
      work.run(writer, 40 + below(random_, 200), 3 * kSegment / lives);
      must(writer.close());
    }
    disk.stop();
    const Reference reference = read_reference(path);
    expect_complete(reference, work);
    Trial trial(path, dir.path());
    const std::uint64_t each = images / disk.cuts().size() + 1;
    for (const Cut& cut : disk.cuts()) {
      ++counts_.cuts;
      try_cut(trial, cut, reference, work.records(), each);
      if (trial.failures() > 3) break;
    }
    counts_.images += trial.images();
  }

  [[nodiscard]] const Counts& counts() const { return counts_; }

 private:
  static void expect_complete(const Reference& reference, const Work& work) {
    EXPECT_TRUE(reference.payloads == work.records());
    for (const auto& [end, sequence] : work.ends()) {
      const auto found = reference.ends.find(end);
      EXPECT_TRUE(found != reference.ends.end() && found->second == sequence);
    }
  }

  void try_cut(Trial& trial, const Cut& cut, const Reference& reference,
               const std::vector<std::string>& records, std::uint64_t each) {
    const Images images(cut);
    if (images.dirty_units() <= 12 && images.count() <= std::min(kMostExhaustive, 8 * each)) {
      ++counts_.exhaustive;
      for (std::uint64_t i = 0; i < images.count() && trial.failures() < 4; ++i) {
        trial.check(images.exact(i), reference, cut.acknowledged);
      }
    }
    for (std::uint64_t i = 0; i < each && trial.failures() < 4; ++i) {
      const Image image = images.any(random_);
      const auto end = trial.check(image, reference, cut.acknowledged);
      if (end && below(random_, 60) == 0) go_on(trial, image, *end, records);
    }
  }

  /// A writer goes on from the image; then the power goes a second time, somewhere between the
  /// begin of the recovery and the end of that writer.
  void go_on(Trial& trial, const Image& image, Position end,
             const std::vector<std::string>& records) {
    ++counts_.writers;
    auto layout = trial.lay_out(image, "second");
    Disk disk(layout->path(), 6, random_());
    const auto kind = static_cast<Work::Kind>(below(random_, 3));
    Work work(kind, random_);
    {
      Writer writer = must(Writer::open(layout->path(), work.options()));
      EXPECT_EQ(writer.recovery().end, end);
      EXPECT_GE(writer.durable(), end);
      ASSERT_LE(writer.last_sequence(), records.size());
      const auto recovered = static_cast<std::ptrdiff_t>(writer.last_sequence());
      work.start_with({records.begin(), records.begin() + recovered});
      work.run(writer, 1 + below(random_, 30), kSegment / 2);
      must(writer.sync());
      must(writer.close());
    }
    disk.stop();
    const Reference reference = read_reference(layout->path());
    expect_complete(reference, work);
    for (const Cut& cut : disk.cuts()) {
      const Images images(cut);
      for (int i = 0; i < 8 && trial.failures() < 4; ++i) {
        ++counts_.second_images;
        // What the first recovery found stays found.
        trial.check(images.any(random_), reference, std::max(end, cut.acknowledged));
      }
    }
  }

  Random random_;
  Counts counts_;
};

TEST(SimulatedCut, EveryImageThatTheDiskMayHoldIsRecovered) {
  use_memory_disk();
  ::setenv("TAILRACE_IO", "thread", 1);
  Campaign campaign(run_seed());
  const std::uint64_t target = times(50'000, 200);
  const auto begin = std::chrono::steady_clock::now();
  for (std::uint64_t i = 0; campaign.counts().images < target && !HasFailure(); ++i) {
    campaign.round(static_cast<Work::Kind>(i % 4), 2000);
  }
  const Counts& counts = campaign.counts();
  const auto took = std::chrono::steady_clock::now() - begin;
  std::printf(
      "%llu images of %llu cuts (%llu of them exhaustively), %llu writers went on, %llu images of "
      "second cuts, %lld s\n",
      static_cast<unsigned long long>(counts.images), static_cast<unsigned long long>(counts.cuts),
      static_cast<unsigned long long>(counts.exhaustive),
      static_cast<unsigned long long>(counts.writers),
      static_cast<unsigned long long>(counts.second_images),
      static_cast<long long>(std::chrono::duration_cast<std::chrono::seconds>(took).count()));
}

/// At rest an empty entry proves the last acknowledgement. One that is written while a large commit
/// waits for the segments must not speak of what they hold already: its end is no record's.
TEST(SimulatedCut, AProofAtRestDoesNotRunAheadOfALargeCommit) {
  use_memory_disk();
  ::setenv("TAILRACE_IO", "thread", 1);
  Random random(run_seed());
  TempDir dir;
  const auto path = dir.path() / "log";
  CreateOptions create;
  create.segment_size_bytes = kSegment;
  create.journal_size_bytes = kJournal;
  must(create_log(path, create));
  WriterOptions options;
  options.sync = SyncPolicy::bytes;
  options.sync_bytes = 100'000;
  Writer writer = must(Writer::open(path, options));
  const std::string large(150'000, 'x');
  std::uint64_t proofs = 0;
  for (std::uint64_t i = 0; i < times(40); ++i) {
    must(writer.append(as_bytes("small")));
    must(writer.sync());
    std::this_thread::sleep_for(std::chrono::microseconds(47'000 + below(random, 3000)));
    const Position position = must(writer.append(as_bytes(large))).position;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    must(writer.wait_durable(position, std::chrono::nanoseconds::max()));
    const std::string journal = file_bytes(path / "journal");
    for (std::uint64_t at = kJournalRingAt; at < journal.size(); at += kJournalBlockBytes) {
      const auto entry = load<JournalEntry>(journal.data() + at);
      if (entry.magic != kEntryMagic || entry.length != 0) continue;
      ++proofs;
      ASSERT_LE(entry.synced_to, entry.position) << "at " << at << ", round " << i;
    }
  }
  EXPECT_GT(proofs, 0U);
}

/// A proof at rest that is under way when the log is closed would land in the successor's ring.
TEST(SimulatedCut, ClosingWaitsForTheLastWriteBeforeItLetsGoOfTheLock) {
  use_memory_disk();
  ::setenv("TAILRACE_IO", "thread", 1);
  const TempLog log;
  WriterOptions options;
  options.sync = SyncPolicy::none;
  Writer writer = log.writer(options);
  must(writer.append(as_bytes("record")));
  must(writer.sync());
  ParallelQueue::stuck() = true;
  const std::uint64_t before = ParallelQueue::handed_over();
  while (ParallelQueue::handed_over() == before) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  std::atomic<bool> closed{false};
  std::thread closing([&] {
    must(writer.close());
    closed = true;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(1500));  // longer than its patience
  EXPECT_FALSE(closed);
  const auto successor = Writer::open(log.path());
  EXPECT_TRUE(!successor && successor.error().code() == errc::locked);
  ParallelQueue::stuck() = false;
  closing.join();
  EXPECT_EQ(log.writer().last_sequence(), 1U);
}

}  // namespace
}  // namespace tailrace::test::power
