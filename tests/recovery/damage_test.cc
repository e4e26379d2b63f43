// Damage to what had been durable is refused, never cut: nothing is changed, the exact place is
// named, and readers get everything before it.

#include "common/damage.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include "format/frame.h"
#include "format/segment_header.h"
#include "log/log_files.h"

namespace tailrace::test {
namespace {

/// Where damage lies: what verify, a refused writer and a reader must all say.
struct Place {
  std::filesystem::path file;
  std::uint64_t offset = 0;
  Sequence sequence = 0;
};

/// A closed log over several segments, and where everything lies in it.
class ClosedLog : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kSegments = 6;

  static void SetUpTestSuite() { use_memory_disk(); }

  void SetUp() override {
    {
      Writer writer = log_.writer();
      const std::string payload(30'000, 'p');
      while (writer.committed() < kSegments * kSmallSegment - kSmallSegment / 2) {
        places_.push_back(must(writer.append(as_bytes(payload), 1)));
      }
      must(writer.close());
    }
    ASSERT_EQ(must(verify(path())).verdict, Verdict::ok);
  }

  [[nodiscard]] std::filesystem::path path() const { return log_.path(); }
  [[nodiscard]] std::filesystem::path segment(std::uint64_t number) const {
    return log_.segment(number * kSmallSegment);
  }
  [[nodiscard]] Place place_of(const Appended& record) const {
    return {segment(record.position / kSmallSegment), record.position % kSmallSegment,
            record.sequence};
  }
  [[nodiscard]] const Appended& first_in(std::uint64_t number) const {
    for (const Appended& record : places_) {
      if (record.position >= number * kSmallSegment) return record;
    }
    return places_.back();
  }
  [[nodiscard]] const Appended& last_in(std::uint64_t number) const {
    const Appended* last = &places_.front();
    for (const Appended& record : places_) {
      if (record.position < (number + 1) * kSmallSegment) last = &record;
    }
    return *last;
  }
  [[nodiscard]] Place header_of(std::uint64_t number) const {
    return {segment(number), 0, number == 0 ? 1 : first_in(number).sequence};
  }

  /// Whether opening for writing looks there: it judges the segment that `durable` lies in and what
  /// follows, else its cost would grow with the log. Older damage is for readers and verify to
  /// find.
  [[nodiscard]] bool judged_when_opened(const Place& place) const {
    const std::uint64_t last = std::max(control_durable(path()) / kSmallSegment, kSegments - 1);
    return place.file >= segment(last) || !std::filesystem::exists(place.file);
  }

  /// `readable`: the last sequence that readers still get.
  void expect_corrupt(const Place& place, Sequence readable, const std::string& what) const {
    SCOPED_TRACE(what);
    const Files before = all_files(path());
    const auto report = verify(path());
    ASSERT_TRUE(report) << report.error().message();
    EXPECT_EQ(report->verdict, Verdict::corrupt) << report->detail;
    EXPECT_EQ(path() / report->file, place.file);
    EXPECT_EQ(report->offset, place.offset);
    EXPECT_EQ(report->sequence, place.sequence);
    EXPECT_FALSE(report->detail.empty());

    if (judged_when_opened(place)) {
      auto refused = Writer::open(path());
      ASSERT_FALSE(refused) << "opened, " << refused->recovery().torn_bytes << " bytes cut";
      EXPECT_EQ(refused.error().code(), errc::corrupt) << refused.error().message();
      EXPECT_EQ(refused.error().path(), place.file);
      EXPECT_EQ(refused.error().offset(), place.offset);
      EXPECT_EQ(refused.error().sequence(), place.sequence);
      EXPECT_THAT(differences(before, all_files(path())), ::testing::IsEmpty())
          << "changed by a refused open";
    }
    expect_readable(place, readable, Follow::committed);
    if (must(Reader::open(path())).durable_known())
      expect_readable(place, readable, Follow::durable);
  }

  void expect_readable(const Place& place, Sequence readable, Follow follow) const {
    SCOPED_TRACE(follow == Follow::durable ? "durable reader" : "committed reader");
    ReaderOptions options;
    options.follow = follow;
    auto opened = Reader::open(path(), options);
    ASSERT_TRUE(opened) << opened.error().message();
    Reader& reader = *opened;
    Outcome last{};
    EXPECT_EQ(drain(reader, &last).size(), readable);
    ASSERT_EQ(last, Outcome::corrupt) << to_string(last);
    EXPECT_EQ(reader.error().code(), errc::corrupt);
    EXPECT_EQ(reader.error().path(), place.file);
    EXPECT_EQ(reader.error().offset(), place.offset);
    EXPECT_EQ(reader.error().sequence(), place.sequence);
    RecordView record;
    EXPECT_EQ(reader.next(record), Outcome::corrupt) << "said once only";
    if (readable > 0) {
      ASSERT_TRUE(reader.seek_sequence(readable));
      EXPECT_EQ(reader.next(record), Outcome::record);
    }
  }

  TempLog log_;
  std::vector<Appended> places_;
};

TEST_F(ClosedLog, ADamagedRecordIsNamedWhereverItLies) {
  // Close made everything durable: the whole log lies below control.durable, its end included.
  for (const Appended& record :
       {first_in(0), last_in(0), first_in(2), last_in(2), last_in(kSegments - 1)}) {
    const Place place = place_of(record);
    for (const std::uint64_t byte : {std::uint64_t{0}, std::uint64_t{9}, std::uint64_t{30'031}}) {
      damage(place.file, place.offset + byte);
      expect_corrupt(
          place, record.sequence - 1,
          "byte " + std::to_string(byte) + " of record " + std::to_string(record.sequence));
      damage(place.file, place.offset + byte);
    }
  }
  EXPECT_EQ(must(verify(path())).verdict, Verdict::ok);
}

TEST_F(ClosedLog, AZeroedRecordIsNoEnd) {
  for (const Appended& record : {first_in(0), last_in(3), places_.back()}) {
    const Place place = place_of(record);
    const std::string bytes =
        file_bytes(place.file).substr(place.offset, record.end - record.position);
    poke(place.file, place.offset, std::string(bytes.size(), '\0'));
    expect_corrupt(place, record.sequence - 1, "zeroed record " + std::to_string(record.sequence));
    poke(place.file, place.offset, bytes);
  }
}

TEST_F(ClosedLog, AnotherBootKnowsWhatHadBeenDurable) {
  reboot(path());
  const Place place = place_of(places_.back());
  damage(place.file, place.offset + 40);
  expect_corrupt(place, places_.size() - 1, "the last record, after a reboot");
}

TEST_F(ClosedLog, WithoutControlWhatLiesTwoSegmentsBackIsStillDamage) {
  // Nothing is known of `durable`, but a segment file bears witness for the one two before it.
  reboot(path());
  set_control_durable(path(), 0);
  const std::uint64_t last = kSegments - 1;
  std::filesystem::remove(segment(kSegments));  // the prepared one, if there was time for it
  const Place place = place_of(last_in(last - 2));
  damage(place.file, place.offset + 40);
  expect_corrupt(place, place.sequence - 1, "the end of the last segment that must be durable");
}

TEST_F(ClosedLog, AMissingSegmentIsNamedWhicheverItIs) {
  for (std::uint64_t number = 0; number < kSegments; ++number) {
    const auto aside = log_.path().parent_path() / "aside";
    std::filesystem::rename(segment(number), aside);
    expect_corrupt(header_of(number), header_of(number).sequence - 1,
                   "segment " + std::to_string(number) + " is missing");
    std::filesystem::rename(aside, segment(number));
  }
  EXPECT_EQ(must(verify(path())).verdict, Verdict::ok);
}

TEST_F(ClosedLog, AllSegmentsMissingIsNoEmptyLog) {
  std::filesystem::remove_all(path() / "segments");
  std::filesystem::create_directory(path() / "segments");
  expect_corrupt(header_of(0), 0, "no segments");
}

TEST_F(ClosedLog, ATruncatedSegmentIsNamedWhereItsBytesEnd) {
  for (const std::uint64_t number : {std::uint64_t{0}, std::uint64_t{2}, kSegments - 1}) {
    const std::string bytes = file_bytes(segment(number));
    const Appended& first = first_in(number);
    const Appended& second = places_[first.sequence];
    for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{100}, std::uint64_t{4095}}) {
      std::filesystem::resize_file(segment(number), size);
      expect_corrupt(header_of(number), header_of(number).sequence - 1,
                     "segment " + std::to_string(number) + " cut to " + std::to_string(size));
      write_bytes(segment(number), bytes);
    }
    for (const std::uint64_t more : {0u, 1u, 32u, 33u, 20'000u}) {
      std::filesystem::resize_file(segment(number), second.position % kSmallSegment + more);
      expect_corrupt(place_of(second), second.sequence - 1,
                     "segment " + std::to_string(number) + " cut " + std::to_string(more) +
                         " bytes into its second record");
      write_bytes(segment(number), bytes);
    }
  }
}

TEST_F(ClosedLog, ADamagedHeaderIsNamed) {
  for (const std::uint64_t number : {std::uint64_t{0}, std::uint64_t{3}, kSegments - 1}) {
    for (const std::uint64_t byte :
         {0u, 8u, 12u, 16u, 32u, 40u, 48u, 56u, 64u, 72u, 80u, 88u, 1000u, 4095u}) {
      damage(segment(number), byte);
      expect_corrupt(
          header_of(number), header_of(number).sequence - 1,
          "byte " + std::to_string(byte) + " of the header of " + std::to_string(number));
      damage(segment(number), byte);
    }
    const std::string header = file_bytes(segment(number)).substr(0, kSegmentHeaderBytes);
    poke(segment(number), 0, std::string(8, '\0'));
    expect_corrupt(header_of(number), header_of(number).sequence - 1, "as if never begun");
    poke(segment(number), 0, std::string(kSegmentHeaderBytes, '\0'));
    expect_corrupt(header_of(number), header_of(number).sequence - 1, "zeroed header");
    poke(segment(number), 0, header);
  }
}

TEST_F(ClosedLog, ASegmentOfAnotherPlaceOrLogIsDamage) {
  const std::string bytes = file_bytes(segment(3));
  write_bytes(segment(3), file_bytes(segment(2)));
  expect_corrupt(header_of(3), header_of(3).sequence - 1, "a copy of its predecessor");
  // The right number in the header does not help frames from elsewhere.
  poke(segment(3), 0, bytes.substr(0, kSegmentHeaderBytes));
  expect_corrupt(place_of(first_in(3)), first_in(3).sequence - 1, "frames of its predecessor");
  const TempLog other;
  {
    Writer writer = other.writer();
    must(writer.append(as_bytes("x")));
  }
  write_bytes(segment(3), bytes);
  write_bytes(segment(0), file_bytes(other.segment(0)));
  expect_corrupt(header_of(0), 0, "another log's segment");
}

TEST_F(ClosedLog, ASegmentThatIsNoFileOfOursIsRefused) {
  const auto aside = path().parent_path() / "aside";
  for (const std::uint64_t number : {std::uint64_t{0}, std::uint64_t{2}, kSegments - 1}) {
    for (const char* const kind : {"link", "fifo", "directory", "stranger"}) {
      SCOPED_TRACE(std::string(kind) + " for segment " + std::to_string(number));
      std::filesystem::rename(segment(number), aside);
      if (std::strcmp(kind, "link") == 0) {
        std::filesystem::create_symlink(aside, segment(number));
      } else if (std::strcmp(kind, "fifo") == 0) {
        ASSERT_EQ(::mkfifo(segment(number).c_str(), 0600), 0);
      } else if (std::strcmp(kind, "directory") == 0) {
        std::filesystem::create_directory(segment(number));
      } else {
        std::filesystem::copy_file(aside, segment(number));
        // Whatever uid runs this: a log of one user with a segment of another.
        if (::chown(segment(number).c_str(), 65534, static_cast<gid_t>(-1)) != 0) {
          std::filesystem::remove(segment(number));
          std::filesystem::rename(aside, segment(number));
          continue;
        }
      }
      const Files before = all_files(path());
      if (number == kSegments - 1) {
        auto refused = Writer::open(path());
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().path(), segment(number)) << refused.error().message();
      }
      EXPECT_THAT(differences(before, all_files(path())), ::testing::IsEmpty());
      auto report = verify(path());
      EXPECT_TRUE(!report || report->verdict == Verdict::corrupt);
      EXPECT_EQ(report ? (path() / report->file).string() : report.error().path(), segment(number));
      auto reader = Reader::open(path());
      if (reader) {
        Outcome last{};
        EXPECT_EQ(drain(*reader, &last).size(), header_of(number).sequence - 1);
        EXPECT_EQ(last, Outcome::corrupt);
      } else {
        ADD_FAILURE() << "the reader cannot even be opened: " << reader.error().message();
      }
      std::filesystem::remove(segment(number));
      std::filesystem::rename(aside, segment(number));
    }
  }
  EXPECT_EQ(must(verify(path())).verdict, Verdict::ok);
}

TEST_F(ClosedLog, WhatElseLiesInTheSegmentsDirectoryIsNobodysBusiness) {
  for (const char* const name :
       {"notes.txt", "00000000000000000000.seg.bak", "00000000000000000001.seg", "1.seg",
        "99999999999999999999.seg", ".00000000000001048576.seg.new", "0000000000000000000x.seg",
        "00000000000000000000.idx.old"}) {
    write_bytes(path() / "segments" / name, "garbage");
  }
  std::filesystem::create_directory(path() / "segments" / "directory");
  ASSERT_EQ(::mkfifo((path() / "segments" / "fifo").c_str(), 0600), 0);
  EXPECT_EQ(must(verify(path())).verdict, Verdict::ok);
  {
    Writer writer = log_.writer();
    EXPECT_EQ(writer.recovery().torn_bytes, 0u);
    must(writer.append(as_bytes("on")));
    must(writer.close());
  }
  Reader reader = log_.reader();
  EXPECT_EQ(drain(reader).size(), places_.size() + 1);
}

TEST_F(ClosedLog, ADamagedControlIsMadeAnewAndTheEpochStillGrows) {
  for (const std::string& how : {std::string("missing"), std::string("magic"), std::string("empty"),
                                 std::string("zeroed"), std::string("another log's")}) {
    SCOPED_TRACE(how);
    const auto control = path() / "control";
    if (how == "missing") std::filesystem::remove(control);
    if (how == "magic") damage(control, 0);
    if (how == "empty") std::filesystem::resize_file(control, 0);
    if (how == "zeroed") poke(control, 0, std::string(4096, '\0'));
    if (how == "another log's") damage(control, offsetof(Control, log_id));
    EXPECT_FALSE(Reader::open(path())) << "a reader has nobody who makes it anew";
    Writer writer = log_.writer();
    EXPECT_EQ(writer.recovery().torn_bytes, 0u);
    const Epoch epoch = writer.epoch();
    const auto appended = must(writer.append(as_bytes("next")));
    EXPECT_GT(appended.sequence, places_.size());
    must(writer.close());
    Reader reader = log_.reader();
    must(reader.seek_sequence(appended.sequence));
    RecordView record;
    ASSERT_EQ(reader.next(record), Outcome::record);
    EXPECT_EQ(record.epoch, epoch);
    EXPECT_EQ(must(verify(path())).verdict, Verdict::ok);
  }
}

TEST_F(ClosedLog, AControlOfALaterVersionIsLeftAlone) {
  poke_value<std::uint32_t>(path() / "control", offsetof(Control, version), 9);
  const Files before = all_files(path());
  auto writer = Writer::open(path());
  ASSERT_FALSE(writer);
  EXPECT_EQ(writer.error().code(), errc::unsupported_version);
  auto reader = Reader::open(path());
  ASSERT_FALSE(reader);
  EXPECT_EQ(reader.error().code(), errc::unsupported_version);
  EXPECT_THAT(differences(before, all_files(path())), ::testing::IsEmpty());
}

TEST_F(ClosedLog, EveryByteOfLogMetaMatters) {
  const std::string meta = file_bytes(path() / "log.meta");
  for (std::size_t byte = 0; byte < meta.size(); ++byte) {
    damage(path() / "log.meta", byte);
    for (const auto& error :
         {Writer::open(path()).map([](const auto&) {}),
          Reader::open(path()).map([](const auto&) {}), verify(path()).map([](const auto&) {})}) {
      ASSERT_FALSE(error) << "byte " << byte << " of log.meta";
      const bool version = byte >= 8 && byte < 12;
      EXPECT_EQ(error.error().code(), version ? errc::unsupported_version : errc::not_a_log)
          << byte;
      EXPECT_EQ(error.error().path(), path() / "log.meta");
    }
    damage(path() / "log.meta", byte);
  }
  for (const std::size_t size : {0u, 1u, 127u}) {
    write_bytes(path() / "log.meta", meta.substr(0, size));
    auto refused = Writer::open(path());
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), errc::not_a_log);
  }
  write_bytes(path() / "log.meta", meta);
  EXPECT_EQ(must(verify(path())).verdict, Verdict::ok);
}

}  // namespace
}  // namespace tailrace::test
