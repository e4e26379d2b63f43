// A full disk: append says so, the log is as it was, readers go on, nobody gets SIGBUS; with room
// again appends go on.

#include <sys/mount.h>
#include <sys/statvfs.h>

#include <chrono>
#include <thread>

#include "common/damage.h"

namespace tailrace::test {
namespace {

constexpr std::uint64_t kDiskBytes = std::uint64_t{32} << 20;

/// A small file system of its own: ext4 on a file, or a tmpfs.
class SmallDisk {
 public:
  explicit SmallDisk(const std::string& kind) : kind_(kind) {
    std::filesystem::create_directory(path());
    if (::geteuid() != 0) return;
    if (kind == "tmpfs") {
      const std::string size = "size=" + std::to_string(kDiskBytes);
      mounted_ = ::mount("none", path().c_str(), "tmpfs", 0, size.c_str()) == 0;
      return;
    }
    const auto image = dir_.path() / "image";
    write_bytes(image, "");
    std::filesystem::resize_file(image, kDiskBytes);
    const std::string quiet = " >/dev/null 2>&1";
    mounted_ =
        std::system(("mkfs.ext4 -q -F " + image.string() + quiet).c_str()) == 0 &&
        std::system(("mount -o loop " + image.string() + " " + path().string() + quiet).c_str()) ==
            0;
  }
  ~SmallDisk() {
    if (mounted_ && ::umount(path().c_str()) != 0) ::umount2(path().c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  [[nodiscard]] bool mounted() const { return mounted_; }
  [[nodiscard]] std::filesystem::path path() const { return dir_.path() / "disk"; }

  [[nodiscard]] std::uint64_t free_bytes() const {
    struct statvfs status {};
    ::statvfs(path().c_str(), &status);
    return status.f_bfree * status.f_frsize;
  }
  /// Leaves `left` bytes or fewer for everybody else.
  void fill(std::uint64_t left) const {
    const int fd =
        ::open((path() / "ballast").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    const std::string chunk(4096, 'b');
    while (free_bytes() > left && ::write(fd, chunk.data(), chunk.size()) > 0) {
    }
    ::close(fd);
  }
  void make_room() const {
    std::error_code not_filled;
    std::filesystem::remove(path() / "ballast", not_filled);
  }

  bool remount_read_only() const {
    return ::mount(nullptr, path().c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr) == 0;
  }

 private:
  std::string kind_;
  TempDir dir_;
  bool mounted_ = false;
};

class NoSpace : public ::testing::TestWithParam<const char*> {
 protected:
  NoSpace() : disk_(GetParam()) {}
  void SetUp() override {
    if (!disk_.mounted()) GTEST_SKIP() << "cannot mount a " << GetParam() << " here";
  }
  [[nodiscard]] std::filesystem::path path() const { return disk_.path() / "log"; }
  void create() const {
    CreateOptions options;
    options.segment_size_bytes = kSmallSegment;
    must(create_log(path(), options));
  }
  static std::string payload(Sequence sequence) {
    return std::string(10'000, static_cast<char>('a' + sequence % 26));
  }

  SmallDisk disk_;
};

TEST_P(NoSpace, AppendSaysSoAndGoesOnWhenThereIsRoomAgain) {
  create();
  disk_.fill(std::uint64_t{8} << 20);
  Writer writer = must(Writer::open(path()));
  Reader reader = must(Reader::open(path()));
  std::optional<Error> refused;
  for (int i = 0; i < 10'000 && !refused; ++i) {
    auto done = writer.append(as_bytes(payload(writer.last_sequence() + 1)));
    if (!done) refused = done.error();
  }
  ASSERT_TRUE(refused) << "never full";
  EXPECT_EQ(refused->code(), errc::no_space) << refused->message();
  EXPECT_NE(refused->path(), "");
  const Sequence last = writer.last_sequence();
  const Position end = writer.committed();
  EXPECT_GT(last, 200u);
  for (int i = 0; i < 5; ++i) {
    const auto start = std::chrono::steady_clock::now();
    auto done = writer.append(as_bytes(payload(last + 1)));
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code(), errc::no_space) << done.error().message();
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(3)) << "append waited";
  }
  EXPECT_EQ(writer.last_sequence(), last);
  EXPECT_EQ(writer.committed(), end);
  must(writer.sync());
  EXPECT_EQ(must(verify(path())).records, last);
  Sequence seen = 0;
  RecordView record;
  while (reader.next(record) == Outcome::record) {
    ++seen;
    ASSERT_EQ(as_text(record.payload), payload(seen));
  }
  EXPECT_EQ(seen, last);
  // What still fits into the segment is still taken.
  if (kSmallSegment - end % kSmallSegment >= 128) {
    EXPECT_EQ(must(writer.append(as_bytes("small"))).sequence, last + 1);
    ASSERT_EQ(reader.next(record), Outcome::record);
  }
  const Sequence before = writer.last_sequence();

  disk_.make_room();
  for (Sequence i = 1; i <= 300; ++i) {
    ASSERT_EQ(must(writer.append(as_bytes(payload(i)))).sequence, before + i);
  }
  EXPECT_EQ(drain(reader).size(), 300u);
  must(writer.close());
  const auto report = must(verify(path()));
  EXPECT_EQ(report.verdict, Verdict::ok) << report.detail;
  EXPECT_EQ(report.records, before + 300);
}

TEST_P(NoSpace, OpeningOnAFullDiskChangesNothing) {
  create();
  ASSERT_TRUE(killed_after([&] {
    Writer writer = must(Writer::open(path()));
    for (Sequence i = 1; i <= 150; ++i) must(writer.append(as_bytes(payload(i))));
    auto claim = must(writer.claim(5000));
    std::memset(claim.payload().data(), 'x', 5000);
    die();
  }));
  disk_.fill(0);
  for (int i = 0; i < 3; ++i) {
    auto writer = Writer::open(path());
    if (!writer) {
      EXPECT_EQ(writer.error().code(), errc::no_space) << writer.error().message();
    }
    EXPECT_NE(must(verify(path())).verdict, Verdict::corrupt);
    Reader reader = must(Reader::open(path()));
    EXPECT_EQ(drain(reader).size(), 150u);
  }
  disk_.make_room();
  Writer writer = must(Writer::open(path()));
  EXPECT_EQ(writer.last_sequence(), 150u);
  EXPECT_EQ(must(writer.append(as_bytes("on"))).sequence, 151u);
  must(writer.close());
  EXPECT_EQ(must(verify(path())).verdict, Verdict::ok);
}

TEST_P(NoSpace, CreatingOnAFullDiskLeavesNothingBehind) {
  disk_.fill(0);
  CreateOptions options;
  options.segment_size_bytes = kSmallSegment;
  auto created = create_log(path(), options);
  ASSERT_FALSE(created);
  EXPECT_EQ(created.error().code(), errc::no_space) << created.error().message();
  for (const auto& entry : std::filesystem::directory_iterator(disk_.path())) {
    const std::string name = entry.path().filename();
    EXPECT_TRUE(name == "ballast" || name == "lost+found") << name;
  }
  disk_.make_room();
  create();
}

// The journal is the largest thing that create makes: whatever room there is short of it, nothing
// is left behind, and what was free is free again.
TEST_P(NoSpace, CreatingOnANearlyFullDiskLeavesNothingBehind) {
  CreateOptions options;
  options.segment_size_bytes = kSmallSegment;
  options.journal_size_bytes = std::uint64_t{8} << 20;
  for (const std::uint64_t left : {std::uint64_t{4096}, std::uint64_t{64} << 10,
                                   std::uint64_t{1} << 20, std::uint64_t{7} << 20}) {
    disk_.make_room();
    disk_.fill(left);
    const std::uint64_t free = disk_.free_bytes();
    auto created = create_log(path(), options);
    ASSERT_FALSE(created) << "with " << free << " bytes";
    EXPECT_EQ(created.error().code(), errc::no_space) << created.error().message();
    EXPECT_NE(created.error().path(), "");
    for (const auto& entry : std::filesystem::directory_iterator(disk_.path())) {
      const std::string name = entry.path().filename();
      EXPECT_TRUE(name == "ballast" || name == "lost+found") << name;
    }
    EXPECT_GE(disk_.free_bytes() + (64 << 10), free);
  }
  disk_.make_room();
  must(create_log(path(), options));
  Writer writer = must(Writer::open(path()));
  must(writer.append(as_bytes("first")));
  must(writer.sync());
}

// A commit needs no room: the journal has had its blocks from the begin.
TEST_P(NoSpace, CommitsGoOnWhereAppendsFit) {
  create();
  Writer writer = must(Writer::open(path()));
  must(writer.append(as_bytes(payload(1))));
  disk_.fill(0);
  Sequence last = 1;
  for (int i = 0; i < 50; ++i) {
    last = must(writer.append(as_bytes(payload(last + 1)))).sequence;
    must(writer.sync());
  }
  EXPECT_EQ(writer.durable(), writer.committed());
  must(writer.close());
  EXPECT_EQ(must(verify(path())).records, last);
}

TEST_P(NoSpace, AReadOnlyFileSystemIsReadAndNotWritten) {
  create();
  {
    Writer writer = must(Writer::open(path()));
    for (Sequence i = 1; i <= 5; ++i) must(writer.append(as_bytes(payload(i))));
  }
  ASSERT_TRUE(disk_.remount_read_only());
  Reader reader = must(Reader::open(path()));
  EXPECT_EQ(drain(reader).size(), 5u);
  RecordView record;
  EXPECT_EQ(reader.next(record, std::chrono::milliseconds(20)), Outcome::end);
  EXPECT_EQ(must(verify(path())).verdict, Verdict::ok);
  EXPECT_EQ(must(inspect(path())).last_sequence, 5u);
  auto writer = Writer::open(path());
  ASSERT_FALSE(writer);
  EXPECT_EQ(writer.error().code(), errc::permission) << writer.error().message();
  EXPECT_EQ(writer.error().os_error(), EROFS);
  EXPECT_NE(writer.error().path(), "");
}

INSTANTIATE_TEST_SUITE_P(On, NoSpace, ::testing::Values("ext4", "tmpfs"),
                         [](const auto& variant) { return std::string(variant.param); });

}  // namespace
}  // namespace tailrace::test
