// What a member of the group that may read, and a stranger, try and must not be able to do.
// docs/access.md is the text to it.

#include "access/attempts.h"

namespace tailrace::test {
namespace {

class Forbidden : public OtherUsers {
 protected:
  void try_all(uid_t user, std::size_t least) {
    const auto own = dir_.path() / "attackers";
    ::mkdir(own.c_str(), 0700);
    ::chown(own.c_str(), user, user);
    ::chown(log().c_str(), kOwner, kReaders);
    OwnersWriter writer(log());
    ASSERT_TRUE(writer.told().ready);
    const Files before = without_control();
    const Target target{log(), own, segment(0), segment(1), writer.pid()};
    EXPECT_TRUE(well_as(user, [&] {
      std::vector<Attempt> all;
      add_names(all, target);
      add_bytes(all, target);
      add_process(all, target);
      add_library(all, target);
      std::size_t succeeded = 0;
      for (const Attempt& attempt : all) {
        if (attempt.act() < 0) continue;
        std::printf("NOT REFUSED: %s\n", attempt.name);
        ++succeeded;
      }
      std::printf("%zu of %zu attempts of uid %u were refused\n", all.size() - succeeded,
                  all.size(), user);
      return succeeded == 0 && all.size() >= least;
    }));
    const std::uint64_t appends = writer.told().appends;
    for (int i = 0; i < 2000 && writer.told().appends == appends; ++i) ::usleep(1000);
    EXPECT_GT(writer.told().appends, appends) << "the writer does not go on";
    EXPECT_TRUE(writer.ended_well());
    const auto report = must(verify(log()));
    EXPECT_EQ(report.verdict, Verdict::ok) << report.detail;
    Files after = without_control();
    EXPECT_EQ(names(before), names(after));
    EXPECT_EQ(before.at("log.meta"), after.at("log.meta"));
  }

 private:
  Files without_control() {
    Files files = all_files(log());
    std::erase_if(files, [](const auto& file) {
      return file.first.find("segments/") == 0 || file.first == "wake";  // they come and go
    });
    return files;
  }
  static std::vector<std::string> names(const Files& files) {
    std::vector<std::string> all;
    for (const auto& [name, bytes] : files) all.push_back(name);
    return all;
  }
};

TEST_F(Forbidden, WhatAMemberOfTheGroupTriesIsRefused) { try_all(kMember, 150); }
TEST_F(Forbidden, WhatAStrangerTriesIsRefused) { try_all(kStranger, 150); }

TEST_F(Forbidden, AStrangerDoesNotEvenLook) {
  EXPECT_TRUE(well_as(kMember, [&] { return Reader::open(log()).has_value(); }));
  EXPECT_TRUE(well_as(kStranger, [&] {
    std::error_code error;
    std::filesystem::directory_iterator(log(), error);
    return error && ::open((log() / "control").c_str(), O_RDONLY) < 0 && bind_at(log() / "x") < 0 &&
           send_descriptor(log() / "wake") < 0;
  }));
}

/// `change` is made to the log by its owner's mistake; opening must say so, and where.
void expect_refused(const std::filesystem::path& log, const std::filesystem::path& named) {
  const auto reader = Reader::open(log);
  const auto writer = Writer::open(log);
  ASSERT_FALSE(reader) << named;
  ASSERT_FALSE(writer) << named;
  for (const Error& opened : {reader.error(), writer.error()}) {
    EXPECT_EQ(opened.code(), errc::permission) << opened.message();
    EXPECT_EQ(std::filesystem::path(opened.path()).lexically_normal(), named) << opened.message();
  }
}

TEST_F(Forbidden, WhatOthersMayWriteDoesNotCount) {
  for (const auto& file : {log() / "log.meta", log() / "control", log(), log() / "segments"}) {
    struct stat status {};
    ASSERT_EQ(::stat(file.c_str(), &status), 0);
    for (const mode_t more : {020U, 002U}) {
      ::chmod(file.c_str(), status.st_mode | more);
      expect_refused(log(), file);
    }
    ::chmod(file.c_str(), status.st_mode);
    EXPECT_TRUE(Reader::open(log()).has_value());
  }
}

TEST_F(Forbidden, ADirectoryOfSomebodyElseDoesNotCount) {
  ASSERT_EQ(::chown((log() / "segments").c_str(), kMember, kReaders), 0);
  expect_refused(log(), log() / "segments");
}

TEST_F(Forbidden, WhatIsNoPlainFileIsNotWaitedFor) {
  // A careless owner's directory that others could write in: nothing is followed or waited for.
  struct Place {
    const char* what;
    std::function<void(const std::filesystem::path&)> put;
  };
  const std::vector<Place> places = {
      {"a FIFO", [](const auto& path) { ::mkfifo(path.c_str(), 0640); }},
      {"a socket", [](const auto& path) { bind_at(path); }},
      {"a directory", [](const auto& path) { ::mkdir(path.c_str(), 0750); }},
      {"a link",
       [this](const auto& path) {
         std::filesystem::create_symlink(dir_.path() / "elsewhere", path);
       }},
      {"a device", [](const auto& path) { ::mknod(path.c_str(), S_IFCHR | 0640, makedev(1, 3)); }},
  };
  for (const char* const name : {"control", "log.meta"}) {
    const auto file = log() / name;
    const std::string bytes = file_bytes(file);
    write_bytes(dir_.path() / "elsewhere", bytes);
    for (const Place& place : places) {
      std::filesystem::remove(file);
      place.put(file);
      EXPECT_TRUE(well_in_child([&] {
        ::alarm(10);
        return !Reader::open(log()).has_value();
      })) << name
          << " is " << place.what;
      std::filesystem::remove(file);
      write_bytes(file, bytes);
      ::chmod(file.c_str(), 0640);
      ::chown(file.c_str(), kOwner, kReaders);
    }
  }
}

}  // namespace
}  // namespace tailrace::test
