// labels: slow
// link: -Wl,--wrap=_ZN8tailrace17make_thread_queueEiRKSt6vectorINS_10WriteQueue6BufferESaIS2_EE
//
// The power goes, thousands of times a second: every system call of a writer passes a model of the
// disk (disk_model.h), which takes notes of what is stable and what is only written. From each cut
// images are made that the disk may hold, and each is recovered.
#include <fmt/format.h>

#include "power/parallel_queue.h"
#include "power/trial.h"

namespace tailrace::test::power {
namespace {

constexpr std::size_t kMostUnits = 12;

/// How many of what, for the line at the end.
struct Counts {
  std::uint64_t images = 0;
  std::uint64_t second_images = 0;  // of them, of a second cut
  std::uint64_t cuts = 0;
  std::uint64_t exhaustive = 0;
  std::uint64_t most_units = 0;  // of those
  std::uint64_t writers = 0;     // opened on an image
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
    large_sets_left_ = times(1, kCuts);
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
    // All of them where they are few; the largest of these sets once a round (always with
    // TAILRACE_LONG).
    const bool small = images.dirty_units() <= kMostUnits;
    if (small && (images.count() <= 8 * each || large_sets_left_ > 0)) {
      if (images.count() > 8 * each) --large_sets_left_;
      ++counts_.exhaustive;
      counts_.most_units = std::max<std::uint64_t>(counts_.most_units, images.dirty_units());
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
  std::uint64_t large_sets_left_ = 0;
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
  fmt::print(
      "{} images of {} cuts ({} of them with all images, of up to {} units); {} writers went on, "
      "and "
      "{} images of second cuts; {} s\n",
      counts.images, counts.cuts, counts.exhaustive, counts.most_units, counts.writers,
      counts.second_images, std::chrono::duration_cast<std::chrono::seconds>(took).count());
}

}  // namespace
}  // namespace tailrace::test::power
