// labels: slow
// A process that writes or reads for ever holds on to nothing: 10,000 segments come and go.

#include <thread>

#include "retention/trimming.h"

namespace tailrace::test {
namespace {

struct Held {
  std::size_t maps = 0;
  std::size_t files = 0;
};

/// What this process has open and mapped of the log.
Held held(const std::filesystem::path& log) {
  Held held;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find(log.string()) != line.npos) ++held.maps;
  }
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code error;
    const auto target = std::filesystem::read_symlink(entry.path(), error).string();
    if (target.starts_with(log.string())) ++held.files;
  }
  return held;
}

TEST(Leaks, AreNoneInAWriterAndAReaderThatGoOnForEver) {
  use_memory_disk();
  const std::uint64_t segments = times(250, 40);
  TempLog log;
  WriterOptions options;
  options.sync = SyncPolicy::none;
  options.populate_ahead_bytes = 0;
  options.retention.max_bytes = 8 * kSmallSegment;
  Writer writer = log.writer(options);
  Reader reader = log.reader();
  RecordView record;
  Sequence read = 0;
  Held most{};
  for (std::uint64_t i = 0; i < segments; ++i) {
    roll(writer, 1);
    Outcome outcome;
    while ((outcome = reader.next(record)) != Outcome::end) {
      if (outcome == Outcome::gone) {
        must(reader.seek_start());
        continue;
      }
      ASSERT_EQ(outcome, Outcome::record) << reader.error().message();
      read = record.sequence;
    }
    if (i % 50 == 49) {
      const Held now = held(log.path());
      most.maps = std::max(most.maps, now.maps);
      most.files = std::max(most.files, now.files);
    }
    // Not so fast that memory is full before anything goes.
    while (segments_of(log.path()).size() > 100) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  EXPECT_EQ(read, segments);
  // Segments: three of the reader's, and the writer's present, next and not yet synced ones.
  EXPECT_LE(most.maps, 20u);
  EXPECT_LE(most.files, 30u);
  must(writer.close());
  std::printf("%llu segments, at most %zu mappings and %zu descriptors\n",
              static_cast<unsigned long long>(segments), most.maps, most.files);
  EXPECT_EQ(must(verify(log.path())).verdict, Verdict::ok);
}

}  // namespace
}  // namespace tailrace::test
