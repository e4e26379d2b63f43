// Snapshots that are not what they should be: damaged in every place, cut off, of another log,
// schema or version, somebody else's, no file at all. None is ever used; an older one is, or there
// is none.

#include <fcntl.h>
#include <sys/stat.h>

#include "base/crc32c.h"
#include "format/frame.h"
#include "format/snapshot_header.h"
#include "state/snapshots.h"

namespace tailrace::test {
namespace {

namespace fs = std::filesystem;

constexpr Sequence kOlder = 5;
constexpr Sequence kNewer = 9;

class Damage : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { use_memory_disk(); }
  void SetUp() override {
    Writer writer = log_.writer();
    grow(writer, 20);
    must(writer.close());
    snapshot(path(), kOlder, "older");
    snapshot(path(), kNewer, newer_);
    newer_bytes_ = file_bytes(newer());
  }
  [[nodiscard]] fs::path path() const { return log_.path(); }
  [[nodiscard]] fs::path newer() const { return file_of(path(), kNewer); }

  void put_back() {
    fs::remove_all(newer());
    write_bytes(newer(), newer_bytes_);
    ASSERT_EQ(::chmod(newer().c_str(), 0640), 0);
  }

  /// The newer one is told to be of no use, for this reason, and the older one is used; without it
  /// there is none.
  void expect_passed_over(errc why, Verify verify = Verify::up_front) {
    const auto found = latest(path(), verify);
    ASSERT_TRUE(found) << found.error().message();
    EXPECT_EQ(as_text(found->body()), "older");
    ASSERT_EQ(found->passed_over().size(), 1u);
    EXPECT_EQ(found->passed_over()[0].code(), why) << found->passed_over()[0].message();
    EXPECT_NE(found->passed_over()[0].path().find(".snap"), std::string::npos);
    const auto infos = must(list_snapshots(path(), "state"));
    ASSERT_EQ(infos.size(), 2u);
    EXPECT_EQ(infos[0].stamp.sequence, kNewer);
    const auto verdict = verify_snapshot(path(), infos[0]);
    ASSERT_FALSE(verdict);
    EXPECT_EQ(verdict.error().code(), why);
    EXPECT_FALSE(infos[1].trouble);
  }
  void expect_trouble(errc why) {
    expect_passed_over(why);
    const auto infos = must(list_snapshots(path(), "state"));
    ASSERT_TRUE(infos[0].trouble);
    EXPECT_EQ(infos[0].trouble->code(), why);
    fs::rename(file_of(path(), kOlder), path() / "aside");
    const auto none = latest(path());
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().code(), errc::not_found);
    EXPECT_NE(none.error().message().find(std::to_string(kNewer) + ".snap"), std::string::npos)
        << none.error().message();
    fs::rename(path() / "aside", file_of(path(), kOlder));
  }
  /// Changes the header and makes its checksum right again.
  void forge(const std::function<void(SnapshotHeader&)>& change) {
    put_back();
    auto header = peek<SnapshotHeader>(newer(), 0);
    change(header);
    const LogMeta meta = must(LogFiles::open(path())).meta;
    const auto* const bytes = reinterpret_cast<const std::byte*>(&header);
    header.crc = crc_finish(crc_bytes(frame_crc_seed(meta.salt), bytes + 16, 4096 - 16));
    poke_value(newer(), 0, header);
  }

  TempLog log_;
  const std::string newer_ = body_of(7, 10'000);
  std::string newer_bytes_;
  std::mt19937_64 random_{run_seed()};
};

TEST_F(Damage, NoBitOfTheHeaderMayBeTurnedOver) {
  const bool all = times(1, 2) > 1;
  std::uint64_t tried = 0;
  for (std::uint64_t bit = 0; bit < std::uint64_t{8} * 4096; ++bit) {
    // What has a meaning, and some of the rest.
    const std::uint64_t byte = bit / 8;
    if (!all && byte >= 112 && (byte < 252 || byte >= 264) && random_() % 64 != 0) continue;
    const auto was = peek<std::uint8_t>(newer(), byte);
    poke_value(newer(), byte, static_cast<std::uint8_t>(was ^ 1U << bit % 8));
    for (const Verify verify : {Verify::trusted, Verify::up_front}) {
      const auto found = latest(path(), verify);
      ASSERT_TRUE(found) << found.error().message();
      ASSERT_EQ(as_text(found->body()), "older") << "bit " << bit;
      ASSERT_EQ(found->passed_over().size(), 1u);
    }
    poke_value(newer(), byte, was);
    ++tried;
  }
  std::printf("%llu bits\n", static_cast<unsigned long long>(tried));
  EXPECT_EQ(as_text(must(latest(path())).body()), newer_);
}

TEST_F(Damage, AFlippedBodyIsNeverHandedOutUpFront) {
  for (std::uint64_t round = 0; round < times(300); ++round) {
    const std::uint64_t at = 4096 + random_() % newer_.size();
    const auto was = peek<std::uint8_t>(newer(), at);
    poke_value(newer(), at, static_cast<std::uint8_t>(was ^ 1U << random_() % 8));
    expect_passed_over(errc::corrupt);
    poke_value(newer(), at, was);
    if (HasFailure()) return;
  }
  EXPECT_EQ(as_text(must(latest(path())).body()), newer_);
}

TEST_F(Damage, AFlippedBodyIsToldBeside) {
  for (std::uint64_t round = 0; round < times(50); ++round) {
    const std::uint64_t at = 4096 + random_() % newer_.size();
    const auto was = peek<std::uint8_t>(newer(), at);
    poke_value(newer(), at, static_cast<std::uint8_t>(was ^ 1U << random_() % 8));
    const Snapshot found = must(latest(path(), Verify::beside));
    EXPECT_EQ(found.stamp().sequence, kNewer);
    Result<bool> verified = found.verified();
    while (verified && !*verified) {
      std::this_thread::sleep_for(std::chrono::microseconds(100));
      verified = found.verified();
    }
    ASSERT_FALSE(verified);
    EXPECT_EQ(verified.error().code(), errc::corrupt);
    // Who trusts it gets what is there.
    EXPECT_EQ(must(latest(path(), Verify::trusted)).stamp().sequence, kNewer);
    poke_value(newer(), at, was);
  }
}

TEST_F(Damage, CutOffAtAnyLengthOrLonger) {
  const std::uint64_t whole = newer_bytes_.size();
  for (const std::uint64_t size :
       {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{15}, std::uint64_t{4095},
        std::uint64_t{4096}, std::uint64_t{4097}, std::uint64_t{8192}, whole - 1, whole + 1,
        whole + 4096, std::uint64_t{1} << 40}) {
    SCOPED_TRACE(size);
    put_back();
    fs::resize_file(newer(), size);
    expect_trouble(errc::corrupt);
  }
  put_back();
  EXPECT_EQ(must(latest(path())).stamp().sequence, kNewer);
}

TEST_F(Damage, OfAnotherVersion) {
  for (const std::uint32_t version : {0U, 2U, 1000U}) {
    SCOPED_TRACE(version);
    forge([&](SnapshotHeader& header) { header.version = version; });
    expect_trouble(errc::unsupported_version);
  }
  forge([](SnapshotHeader& header) { header.reserved1[7] = 1; });
  expect_trouble(errc::unsupported_version);
}

TEST_F(Damage, WithAnImpossibleHeaderUnderARightChecksum) {
  forge([](SnapshotHeader& header) { header.body_size_bytes = kUnknown; });
  expect_trouble(errc::corrupt);
  forge([](SnapshotHeader& header) { header.body_size_bytes = kUnknown - 4095; });
  expect_trouble(errc::corrupt);
  forge([](SnapshotHeader& header) { header.body_size_bytes += 1; });
  expect_trouble(errc::corrupt);
  forge([](SnapshotHeader& header) { header.name_length = 0xffff; });
  expect_trouble(errc::corrupt);
  forge([](SnapshotHeader& header) { header.schema_length = 0xffff; });
  expect_trouble(errc::corrupt);
  forge([](SnapshotHeader& header) { header.frame_crc ^= 1; });
  expect_trouble(errc::diverged);
  forge([](SnapshotHeader& header) { header.position = kUnknown; });
  expect_trouble(errc::diverged);
  forge([](SnapshotHeader& header) { header.epoch += 1; });
  expect_trouble(errc::diverged);
}

TEST_F(Damage, RenamedOrCopiedWithinTheLog) {
  fs::remove(newer());
  fs::copy_file(file_of(path(), kOlder), newer());
  expect_trouble(errc::corrupt);
  put_back();
  const fs::path elsewhere = path() / "snapshots" / "another";
  fs::create_directory(elsewhere);
  fs::copy_file(newer(), elsewhere / newer().filename());
  EXPECT_EQ(code_of(Snapshot::open_latest(path(), "another", kSchema)), errc::not_found);
  EXPECT_EQ(must(latest(path())).stamp().sequence, kNewer);
}

TEST_F(Damage, OfAnotherLogOrARestoredOne) {
  const auto is_diverged = [](const fs::path& log) {
    const auto none = latest(log);
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().code(), errc::not_found);
    for (const SnapshotInfo& info : must(list_snapshots(log))) {
      ASSERT_TRUE(info.trouble);
      EXPECT_EQ(info.trouble->code(), errc::diverged);
    }
    EXPECT_EQ(must(list_snapshots(log)).size(), 2u);
  };
  const TempLog other;
  {
    Writer writer = other.writer();
    grow(writer, 20);
    must(writer.close());
  }
  fs::copy(path() / "snapshots", other.path() / "snapshots", fs::copy_options::recursive);
  is_diverged(other.path());

  const TempDir dir;
  must(backup_log(path(), dir.path() / "backup"));
  must(restore_log(dir.path() / "backup", dir.path() / "restored"));
  EXPECT_TRUE(must(list_snapshots(dir.path() / "restored")).empty());
  fs::copy(path() / "snapshots", dir.path() / "restored" / "snapshots",
           fs::copy_options::recursive);
  is_diverged(dir.path() / "restored");
  // The same log again: what it says of itself is true there as well.
  RestoreOptions same;
  same.keep_log_id = true;
  must(restore_log(dir.path() / "backup", dir.path() / "same", same));
  fs::copy(path() / "snapshots", dir.path() / "same" / "snapshots", fs::copy_options::recursive);
  EXPECT_EQ(must(latest(dir.path() / "same")).stamp().sequence, kNewer);
}

TEST_F(Damage, NoFileOrNotAPlainOne) {
  const fs::path aside = path() / "aside";
  write_bytes(aside, newer_bytes_);
  ASSERT_EQ(::chmod(aside.c_str(), 0640), 0);
  const auto with = [&](const std::function<void()>& make) {
    fs::remove_all(newer());
    make();
    expect_passed_over(errc::permission);
    fs::remove_all(newer());
  };
  with([&] { fs::create_symlink(aside, newer()); });
  with([&] { fs::create_symlink("/nowhere", newer()); });
  with([&] { fs::create_hard_link(aside, newer()); });
  with([&] { ASSERT_EQ(::mkfifo(newer().c_str(), 0640), 0); });
  with([&] { fs::create_directory(newer()); });
  put_back();
  for (const mode_t mode : {0660U, 0642U}) {
    ASSERT_EQ(::chmod(newer().c_str(), mode), 0);
    expect_passed_over(errc::permission);
  }
  put_back();
  EXPECT_EQ(must(latest(path())).stamp().sequence, kNewer);
}

TEST_F(Damage, OfSomebodyElse) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to give files away";
  constexpr uid_t kSomebody = 12345;
  ASSERT_EQ(::chown(newer().c_str(), kSomebody, kSomebody), 0);
  expect_passed_over(errc::permission);
  put_back();
  const fs::path directory = path() / "snapshots" / "state";
  ASSERT_EQ(::chown(directory.c_str(), kSomebody, kSomebody), 0);
  EXPECT_EQ(code_of(latest(path())), errc::permission);
  const auto infos = must(list_snapshots(path()));
  ASSERT_EQ(infos.size(), 1u);
  ASSERT_TRUE(infos[0].trouble);
  EXPECT_EQ(infos[0].trouble->code(), errc::permission);
  ASSERT_EQ(::chown(directory.c_str(), ::geteuid(), ::getegid()), 0);
  ASSERT_EQ(::chmod(directory.c_str(), 02770), 0);
  EXPECT_EQ(code_of(latest(path())), errc::permission);
  ASSERT_EQ(::chmod(directory.c_str(), 02750), 0);
  ASSERT_EQ(::chown((path() / "snapshots").c_str(), kSomebody, kSomebody), 0);
  EXPECT_EQ(code_of(latest(path())), errc::permission);
  EXPECT_EQ(code_of(list_snapshots(path())), errc::permission);
}

TEST_F(Damage, DirectoriesThatAreLinks) {
  const fs::path snapshots = path() / "snapshots";
  fs::rename(snapshots / "state", path() / "aside");
  fs::create_directory_symlink(path() / "aside", snapshots / "state");
  EXPECT_EQ(code_of(latest(path())), errc::permission);
  ASSERT_EQ(must(list_snapshots(path())).size(), 1u);
  EXPECT_TRUE(must(list_snapshots(path()))[0].trouble);
  EXPECT_EQ(code_of(SnapshotWriter::create(path(), "state", kSchema, stamp_at(path(), 1))),
            errc::permission);
  fs::remove(snapshots / "state");
  write_bytes(snapshots / "state", "a file");
  EXPECT_EQ(code_of(latest(path())), errc::permission);
}

TEST_F(Damage, JunkBesideThemIsLeftAlone) {
  const fs::path directory = path() / "snapshots" / "state";
  for (const char* const name : {"9.snap", "0000000000000000009.snap", "99999999999999999999.snap",
                                 "0000000000000000000x.snap", "readme", ".x.new", ".snap"}) {
    write_bytes(directory / name, "junk");
  }
  EXPECT_EQ(must(latest(path())).stamp().sequence, kNewer);
  snapshot(path(), 10, "ten", {.keep = 1});
  EXPECT_EQ(usable(path()), (std::vector<Sequence>{10}));
  EXPECT_EQ(entries(path()).size(), 8u);
}

}  // namespace
}  // namespace tailrace::test
