// labels: slow
// link: -Wl,--wrap=_ZN8tailrace17make_thread_queueEiRKSt6vectorINS_10WriteQueue6BufferESaIS2_EE
//
// The power goes under a server whose clients race for the same names: as in simulated_cut_test.cc,
// with the answers of conditional appends as promises. What was durably told (created, refused,
// created earlier) rests on a record, and that is in every image of every cut after it. Some images
// are served again: who asks again is told the same, and the power goes a second time.
#include <fmt/format.h>

#include "power/parallel_queue.h"
#include "power/served_work.h"
#include "power/trial.h"

namespace tailrace::test::power {
namespace {

constexpr std::size_t kMostUnits = 9;
constexpr std::uint64_t kRequests = 1'500;  // a life's

class ServedCuts {
 public:
  explicit ServedCuts(std::uint64_t seed) : random_(seed) {}

  /// A server's life, its cuts, their images. `images`: about how many.
  void round(std::uint64_t images) {
    TempDir dir;
    const auto path = dir.path() / "log";
    CreateOptions create;
    create.segment_size_bytes = kSegment;
    create.journal_size_bytes = kJournal;
    must(create_log(path, create));
    constexpr std::size_t kCuts = 40;
    ServedWork work;
    Disk disk(path, kCuts, random_());
    work.run(path, 0, kRequests, random_);
    disk.stop();
    expect_right(path, work);
    conflicts_ += work.durable_conflicts();
    duplicates_ += work.durable_duplicates();
    const Reference reference = read_reference(path);
    Trial trial(path, dir.path());
    const std::uint64_t each = images / disk.cuts().size() + 1;
    for (const Cut& cut : disk.cuts()) {
      ++cuts_;
      try_cut(trial, cut, reference, work, each);
      if (trial.failures() > 3) break;
    }
    images_ += trial.images();
  }

  [[nodiscard]] std::uint64_t images() const { return images_; }
  void print(std::chrono::nanoseconds took) const {
    fmt::print(
        "{} images of {} cuts ({} with all images); {} durable conflicts, {} durable duplicates; "
        "{} images served again, {} answers compared, {} images of second cuts; {} s\n",
        images_, cuts_, exhaustive_, conflicts_, duplicates_, served_, compared_, second_images_,
        std::chrono::duration_cast<std::chrono::seconds>(took).count());
  }
  [[nodiscard]] std::uint64_t conflicts() const { return conflicts_; }
  [[nodiscard]] std::uint64_t duplicates() const { return duplicates_; }

 private:
  /// What was told is what the log says: the record of that number, by that request or by a rival.
  static void expect_right(const std::filesystem::path& path, const ServedWork& work) {
    Reader reader = must(Reader::open(path));
    const std::vector<Copied> records = drain(reader);
    std::map<std::string, int> created;
    for (const Copied& record : records) ++created[record.keys.at(0)];
    for (const auto& [key, count] : created) EXPECT_EQ(count, 1) << key;
    for (const Heard& heard : work.heard()) {
      ASSERT_LE(heard.sequence, records.size());
      const Copied& record = records[heard.sequence - 1];
      ASSERT_EQ(record.sequence, heard.sequence);
      EXPECT_EQ(record.keys.at(0), ServedWork::key_of(heard.request));
      EXPECT_EQ(record.payload == ServedWork::payload_of(heard.request), heard.appended)
          << "request " << heard.request << ", record " << heard.sequence;
    }
  }

  void try_cut(Trial& trial, const Cut& cut, const Reference& reference, const ServedWork& work,
               std::uint64_t each) {
    const Images images(cut);
    if (images.dirty_units() <= kMostUnits) {
      ++exhaustive_;
      for (std::uint64_t i = 0; i < images.count() && trial.failures() < 4; ++i) {
        trial.check(images.exact(i), reference, cut.acknowledged);
      }
    }
    for (std::uint64_t i = 0; i < each && trial.failures() < 4; ++i) {
      const Image image = images.any(random_);
      const auto end = trial.check(image, reference, cut.acknowledged);
      if (end && below(random_, 200) == 0) serve_again(trial, image, *end, work);
    }
  }

  /// A server goes on from the image. Everybody asks again what he had heard of; then the race
  /// begins anew, and the power goes a second time.
  void serve_again(Trial& trial, const Image& image, Position end, const ServedWork& before) {
    ++served_;
    auto layout = trial.lay_out(image, "second");
    Disk disk(layout->path(), 8, random_());
    disk.promise(end);  // what the recovery found stays found
    compare(layout->path(), before, end);
    ServedWork work;
    work.run(layout->path(), below(random_, kRequests), 60, random_);
    disk.stop();
    expect_right(layout->path(), work);
    const Reference reference = read_reference(layout->path());
    for (const Cut& cut : disk.cuts()) {
      const Images images(cut);
      for (int i = 0; i < 8 && trial.failures() < 4; ++i) {
        ++second_images_;
        trial.check(images.any(random_), reference, cut.acknowledged);
      }
    }
  }

  void compare(const std::filesystem::path& path, const ServedWork& before, Position end) {
    auto server = must(Server::open(path));
    must(server.start());
    ClientOptions options;
    options.may_write = false;
    auto client = must(Client::connect(path, options));
    const auto& heard = before.heard();
    for (std::size_t i = below(random_, 40); i < heard.size(); i += 1 + below(random_, 40)) {
      if (heard[i].end > end) continue;  // nobody had been promised that
      const auto again = ServedWork::ask_again(client, heard[i].request);
      ++compared_;
      ASSERT_TRUE(again);
      EXPECT_EQ(again->appended, heard[i].appended) << "request " << heard[i].request;
      EXPECT_EQ(again->sequence, heard[i].sequence) << "request " << heard[i].request;
    }
    must(client.close());
    server.stop();
    must(server.join());
  }

  Random random_;
  std::uint64_t images_ = 0, second_images_ = 0, cuts_ = 0, exhaustive_ = 0;
  std::uint64_t conflicts_ = 0, duplicates_ = 0, served_ = 0, compared_ = 0;
};

TEST(ServedCut, WhatWasDurablyToldRestsOnRecordsThatEveryImageHas) {
  use_memory_disk();
  ::setenv("TAILRACE_IO", "thread", 1);
  ServedCuts campaign(run_seed());
  const std::uint64_t target = times(10'000, 100);
  const auto begin = std::chrono::steady_clock::now();
  while (campaign.images() < target && !HasFailure()) campaign.round(1'000);
  campaign.print(std::chrono::steady_clock::now() - begin);
  EXPECT_GT(campaign.conflicts(), 100U);
  EXPECT_GT(campaign.duplicates(), 100U);
}

}  // namespace
}  // namespace tailrace::test::power
