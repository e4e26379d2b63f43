// A directory that vanishes under the feet of its users, and users who may only read, or not even
// that.

#include <grp.h>
#include <sys/stat.h>

#include <chrono>
#include <functional>

#include "common/damage.h"

namespace tailrace::test {
namespace {

constexpr uid_t kStranger = 65534;

class Access : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { use_memory_disk(); }
};

TEST_F(Access, AVanishedDirectoryEndsTheWriterWithAClearError) {
  const TempLog log;
  Writer writer = log.writer();
  Reader committed = log.reader();
  ReaderOptions options;
  options.follow = Follow::durable;
  options.wait = Wait::yield;
  Reader durable = log.reader(options);
  const std::string payload(10'000, 'p');
  for (int i = 0; i < 50; ++i) must(writer.append(as_bytes(payload)));
  must(writer.sync());
  EXPECT_EQ(drain(committed).size(), 50u);
  std::filesystem::remove_all(log.path());
  std::optional<Error> refused;
  for (int i = 0; i < 1000 && !refused; ++i) {
    auto done = writer.append(as_bytes(payload));
    if (!done) refused = done.error();
  }
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->code(), errc::not_found) << refused->message();
  EXPECT_NE(refused->path(), "");
  // What was mapped is still read, then the reader is told.
  RecordView record;
  Outcome last{};
  const auto start = std::chrono::steady_clock::now();
  while ((last = committed.next(record, std::chrono::seconds(20))) == Outcome::record) {
  }
  EXPECT_EQ(last, Outcome::closed);
  while ((last = durable.next(record, std::chrono::seconds(20))) == Outcome::record) {
  }
  EXPECT_EQ(last, Outcome::closed);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
  static_cast<void>(writer.close());
}

/// As another user, with the given group beside.
bool as_stranger(gid_t group, const std::function<bool()>& work) {
  return well_in_child([&] {
    if (::setgroups(0, nullptr) != 0 || ::setresgid(group, group, group) != 0 ||
        ::setresuid(kStranger, kStranger, kStranger) != 0) {
      return false;
    }
    return work();
  });
}

class OtherUser : public Access {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "only root can be another user";
    ::chmod(log_.path().parent_path().c_str(), 0755);
    for (const auto& entry : std::filesystem::recursive_directory_iterator(log_.path())) {
      ASSERT_EQ(::chown(entry.path().c_str(), static_cast<uid_t>(-1), kGroup), 0);
    }
    ASSERT_EQ(::chown(log_.path().c_str(), static_cast<uid_t>(-1), kGroup), 0);
    for (const char* const directory : {".", "segments"}) {
      struct stat status {};
      ASSERT_EQ(::stat((log_.path() / directory).c_str(), &status), 0);
      ASSERT_EQ(status.st_mode & 07777, 02750u) << "new files must get the group";
    }
  }
  static constexpr gid_t kGroup = 54321;
  TempLog log_;
};

TEST_F(OtherUser, WithoutPermissionIsToldSo) {
  {
    Writer writer = log_.writer();
    must(writer.append(as_bytes("x")));
  }
  EXPECT_TRUE(as_stranger(kStranger, [&] {
    auto reader = Reader::open(log_.path());
    auto writer = Writer::open(log_.path());
    auto report = verify(log_.path());
    if (reader || writer || report) return false;
    return reader.error().code() == errc::permission && !reader.error().path().empty() &&
           writer.error().code() == errc::permission && report.error().code() == errc::permission;
  }));
}

TEST_F(OtherUser, OfTheGroupReadsParksAndIsWokenButCannotWrite) {
  Writer writer = log_.writer();
  const std::string payload(5000, 'p');
  must(writer.append(as_bytes(payload)));
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = fork_child();
  if (child == 0) {
    const bool well = [&] {
      if (::setgroups(0, nullptr) != 0 || ::setresgid(kGroup, kGroup, kGroup) != 0 ||
          ::setresuid(kStranger, kStranger, kStranger) != 0) {
        return false;
      }
      if (Writer::open(log_.path())) return false;
      auto reader = Reader::open(log_.path());
      if (!reader) {
        std::printf("%s\n", reader.error().message().c_str());
        return false;
      }
      if (::write(ready[1], "r", 1) != 1) return false;
      RecordView record;
      for (Sequence i = 1; i <= 601; ++i) {  // over several rolls: modes of new segments
        const Outcome outcome = reader->next(record, std::chrono::seconds(20));
        if (outcome != Outcome::record) {
          std::printf("%s at record %llu\n", to_string(outcome),
                      static_cast<unsigned long long>(i));
          if (outcome == Outcome::corrupt) std::printf("%s\n", reader->error().message().c_str());
          return false;
        }
        if (record.sequence != i || record.payload.size() != 5000) return false;
      }
      return true;
    }();
    std::fflush(nullptr);
    ::_exit(well ? 0 : 1);
  }
  char byte;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  for (int i = 0; i < 600; ++i) {
    if (i % 50 == 0) ::usleep(3000);
    must(writer.append(as_bytes(payload)));
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_F(OtherUser, CannotSlipInASegmentOfHisOwn) {
  // Somebody who could write in the directory once: his file does not count.
  {
    Writer writer = log_.writer();
    must(writer.append(as_bytes("x")));
  }
  ASSERT_EQ(::chown((log_.path() / "control").c_str(), kStranger, static_cast<gid_t>(-1)), 0);
  auto reader = Reader::open(log_.path());
  ASSERT_FALSE(reader);
  EXPECT_EQ(reader.error().code(), errc::permission);
  EXPECT_EQ(reader.error().path(), log_.path() / "control");
  auto writer = Writer::open(log_.path());
  ASSERT_FALSE(writer);
  EXPECT_EQ(writer.error().code(), errc::permission);
}

}  // namespace
}  // namespace tailrace::test
