// Damage or a torn tail? What decides between them in one boot, and that no bit goes unwatched.

#include <gmock/gmock.h>

#include "common/damage.h"
#include "format/frame.h"
#include "format/segment_header.h"
#include "log/log_files.h"

namespace tailrace::test {
namespace {

/// What had been acknowledged is repaired from the journal, wherever the writer died; above that it
/// is a torn tail.
TEST(DamageInTheSameBoot, BelowDurableIsRepairedAndAboveATornTail) {
  use_memory_disk();
  for (const bool below : {true, false}) {
    const TempLog log;
    std::vector<Appended> places;
    ASSERT_TRUE(killed_after([&] {
      WriterOptions options;
      options.sync = SyncPolicy::none;
      Writer writer = log.writer(options);
      for (int i = 0; i < 10; ++i) must(writer.append(as_bytes("durable")));
      must(writer.sync());
      for (int i = 0; i < 10; ++i) must(writer.append(as_bytes("committed")));
      // `committed` follows when appends rest.
      while (peek<Position>(log.path() / "control", offsetof(Control, committed)) !=
             writer.committed()) {
        ::usleep(1000);
      }
      die();
    }));
    {
      Reader reader = log.reader();
      RecordView record;
      while (reader.next(record) == Outcome::record) {
        places.push_back({record.position, 0, record.sequence});
      }
    }
    ASSERT_EQ(places.size(), 20u);
    ASSERT_EQ(control_durable(log.path()), places[10].position);
    const Appended& hit = places[below ? 9 : 10];
    damage(log.segment(0), hit.position + 33);
    auto writer = Writer::open(log.path());
    Reader reader = log.reader();
    Outcome last{};
    if (below) {
      ASSERT_TRUE(writer) << writer.error().message();
      EXPECT_EQ(writer->recovery().last_sequence, 20u);
      EXPECT_EQ(writer->recovery().torn_bytes, 0u);
      EXPECT_EQ(writer->recovery().lost_committed_bytes, 0u);
      EXPECT_EQ(drain(reader, &last).size(), 20u);
      EXPECT_EQ(last, Outcome::end);
    } else {
      ASSERT_TRUE(writer) << writer.error().message();
      EXPECT_EQ(writer->recovery().last_sequence, 10u);
      EXPECT_EQ(writer->recovery().end, hit.position);
      EXPECT_GT(writer->recovery().torn_bytes, 0u);
      EXPECT_EQ(writer->recovery().torn_records, 9u);
      // Only damage of a file system can do this: it is said, not refused.
      EXPECT_GT(writer->recovery().lost_committed_bytes, 0u);
      EXPECT_EQ(drain(reader, &last).size(), 10u);
      EXPECT_EQ(last, Outcome::end);
    }
  }
}

/// Every single bit of a header and the first frames, one after the other.
TEST(EveryBit, OfDurableDataIsWatched) {
  use_memory_disk();
  const TempLog log;
  struct Frame {
    std::uint64_t offset, size;
    Sequence sequence;  // that must stand there
    Sequence readable;  // the last record before its unit
  };
  std::vector<Frame> frames;
  {
    Writer writer = log.writer();
    frames.push_back({kSegmentHeaderBytes, kEpochFrameSize, 1, 0});
    const auto single = [&](std::size_t size) {
      const std::string payload(size, 's');
      const auto done = must(writer.append(as_bytes(payload), 3));
      frames.push_back({done.position, kFrameHeaderBytes + size, done.sequence, done.sequence - 1});
    };
    single(0);
    single(5);
    single(64);
    const std::string_view keys[] = {"a", "key of some length"};
    const RecordInput batch[] = {{as_bytes("one"), 1}, {as_bytes("two"), 2, keys}, {{}, 3}};
    const auto done = must(writer.append_batch(batch));
    const std::uint64_t key_bytes = key_entry_bytes(1) + key_entry_bytes(18);
    frames.push_back({done.position, 35, 4, 3});
    frames.push_back({done.position + 64, 35 + key_bytes, 5, 3});
    frames.push_back({done.position + 64 + frame_span(35 + key_bytes), 32, 6, 3});
    ASSERT_EQ(frames.back().offset + 32, done.end);
    single(100);
    single(33);
    single(31);
    ASSERT_GE(writer.committed(), kSegmentHeaderBytes + 600);
    must(writer.close());
  }
  const Sequence last_sequence = frames.back().sequence;
  const std::uint64_t end = frames.back().offset + frame_span(frames.back().size);
  ASSERT_EQ(must(verify(log.path())).verdict, Verdict::ok);
  std::mt19937_64 random(run_seed());
  const int fd = ::open(log.segment(0).c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  const std::string bytes = file_bytes(log.segment(0));
  std::uint64_t tested = 0;
  for (std::uint64_t offset = 0; offset < end; ++offset) {
    const bool fields = offset < sizeof(SegmentHeader) || offset >= kSegmentHeaderBytes;
    for (unsigned bit = 0; bit < 8; ++bit) {
      if (!fields && random() % times(16, 16) != 0 && std::getenv("TAILRACE_LONG") == nullptr)
        continue;
      const char changed = static_cast<char>(bytes[offset] ^ (1 << bit));
      ASSERT_EQ(::pwrite(fd, &changed, 1, static_cast<off_t>(offset)), 1);
      ++tested;
      const Frame* hit = nullptr;
      for (const Frame& frame : frames) {
        if (offset >= frame.offset && offset < frame.offset + frame.size) hit = &frame;
      }
      const bool header = offset < kSegmentHeaderBytes;
      const bool harmless = !header && hit == nullptr;  // between two frames
      const std::string where = "bit " + std::to_string(bit) + " of byte " + std::to_string(offset);
      const auto report = must(verify(log.path()));
      ASSERT_EQ(report.verdict, harmless ? Verdict::ok : Verdict::corrupt) << where;
      Reader reader = log.reader();
      Outcome last{};
      RecordView record;
      Sequence read = 0;
      while ((last = reader.next(record)) == Outcome::record) ++read;
      if (harmless) {
        ASSERT_EQ(read, last_sequence) << where;
      } else {
        const std::uint64_t place = header ? 0 : hit->offset;
        const Sequence sequence = header ? 1 : hit->sequence;
        ASSERT_EQ(report.offset, place) << where;
        ASSERT_EQ(report.sequence, sequence) << where;
        ASSERT_EQ(last, Outcome::corrupt) << where;
        ASSERT_EQ(read, header ? 0 : hit->readable) << where;
        ASSERT_EQ(reader.error().offset(), place) << where;
        ASSERT_EQ(reader.error().sequence(), sequence) << where;
        auto refused = Writer::open(log.path());
        ASSERT_FALSE(refused) << where;
        ASSERT_EQ(refused.error().code(), errc::corrupt) << where;
        ASSERT_EQ(refused.error().offset(), place) << where;
        ASSERT_EQ(refused.error().sequence(), sequence) << where;
      }
      ASSERT_EQ(::pwrite(fd, &bytes[offset], 1, static_cast<off_t>(offset)), 1);
    }
  }
  ::close(fd);
  std::printf("%llu bits\n", static_cast<unsigned long long>(tested));
  EXPECT_EQ(must(verify(log.path())).verdict, Verdict::ok);
}

/// The heartbeat of a writer that was killed is fresh for a while.
TEST(TailVerdict, IsTornAtOnceWhenTheWriterIsDead) {
  use_memory_disk();
  const TempLog log;
  ASSERT_TRUE(killed_after([&] {
    Writer writer = log.writer();
    must(writer.append(as_bytes("x")));
    auto claim = must(writer.claim(100));
    std::memset(claim.payload().data(), 0x5a, 100);
    die();
  }));
  const auto report = must(verify(log.path()));
  EXPECT_EQ(report.verdict, Verdict::torn_tail);
  EXPECT_EQ(report.sequence, 2u);
  EXPECT_EQ(report.bytes, 132u);  // the claimed payload and the room of its header before it
}

/// A reader that lives through many openings of a log that never rolls holds no more for it.
TEST(TailReader, HoldsAFixedNumberOfMappingsThroughAnyNumberOfRestarts) {
  use_memory_disk();
  const TempLog log;
  ASSERT_TRUE(well_in_child([&] {
    Reader reader = log.reader();
    for (Sequence i = 1; i <= 40; ++i) {
      Writer writer = log.writer();
      must(writer.append(as_bytes("x")));
      must(writer.close());
      RecordView record;
      EXPECT_EQ(reader.next(record), Outcome::record);
    }
    EXPECT_LE(mapped_segments(), 4);
    return true;
  }));
}

}  // namespace
}  // namespace tailrace::test
