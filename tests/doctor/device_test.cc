// Block devices as /sys describes them, direct I/O, reserved blocks, and room.

#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "doctor/block_device.h"
#include "doctor/direct_io.h"
#include "doctor/findings.h"
#include "doctor/mapping.h"
#include "doctor/space.h"

namespace tailrace::doctor {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

BlockDevice good_disk() {
  BlockDevice disk;
  disk.name = "nvme0n1";
  disk.write_cache = "write back";
  disk.stable_writes = false;
  disk.rotational = false;
  disk.read_ahead_kib = 128;
  return disk;
}

Finding judged(const BlockDevice& device, const std::string& check) {
  return the(whole(judge_block_device(device)), check);
}

TEST(BlockDevice, AGoodDisk) {
  for (const Finding& finding : whole(judge_block_device(good_disk()))) {
    EXPECT_EQ(finding.level, Level::ok) << finding.found;
  }
}

TEST(BlockDevice, AWriteCacheIsFineAndItsConditionIsSaid) {
  EXPECT_THAT(judged(good_disk(), "write_cache").found, HasSubstr("honours a flush"));
  BlockDevice disk = good_disk();
  disk.write_cache = "write through";
  EXPECT_EQ(judged(disk, "write_cache").level, Level::ok);
  EXPECT_THAT(judged(disk, "write_cache").found, HasSubstr("no flushes"));
}

TEST(BlockDevice, StableWritesAreNoted) {
  BlockDevice disk = good_disk();
  disk.stable_writes = true;
  EXPECT_EQ(judged(disk, "stable_writes").level, Level::note);
  EXPECT_TRUE(value<bool>(judged(disk, "stable_writes"), "stable_writes"));
}

TEST(BlockDevice, MegabytesOfReadAheadAreNoted) {
  BlockDevice disk = good_disk();
  disk.read_ahead_kib = 8192;
  EXPECT_EQ(judged(disk, "read_ahead").level, Level::note);
  EXPECT_THAT(judged(disk, "read_ahead").fix, HasSubstr("/sys/block/nvme0n1/queue/read_ahead_kb"));
  disk.read_ahead_kib = 1024;
  EXPECT_EQ(judged(disk, "read_ahead").level, Level::ok);
  disk.read_ahead_kib.reset();
  EXPECT_THAT(judged(disk, "read_ahead").found, HasSubstr("unknown"));
}

TEST(BlockDevice, WhatSysDoesNotSayIsUnknown) {
  BlockDevice disk = good_disk();
  disk.write_cache.reset();
  disk.stable_writes.reset();
  disk.rotational.reset();
  EXPECT_EQ(judged(disk, "write_cache").level, Level::note);
  EXPECT_THAT(judged(disk, "write_cache").found, HasSubstr("unknown"));
  EXPECT_THAT(judged(disk, "stable_writes").found, HasSubstr("unknown"));
  EXPECT_EQ(judged(disk, "block_device").level, Level::ok);
}

TEST(BlockDevice, RotatingDisksLoopsNetworksAndMemory) {
  BlockDevice disk = good_disk();
  disk.rotational = true;
  EXPECT_EQ(judged(disk, "block_device").level, Level::note);
  disk.name = "loop3";
  disk.backing_file = "/images/a.img";
  EXPECT_THAT(judged(disk, "block_device").found, HasSubstr("/images/a.img"));
  EXPECT_THAT(judged(disk, "block_device").fix, HasSubstr("losetup --direct-io=on /dev/loop3"));
  disk.name = "nbd0";
  EXPECT_THAT(judged(disk, "block_device").found, HasSubstr("network"));
  disk.name = "zram0";
  EXPECT_EQ(judged(disk, "block_device").level, Level::warning);
  EXPECT_EQ(text_value(judged(disk, "block_device"), "durable"), "no");
}

/// A /sys of our own.
class Sys : public testing::Test {
 protected:
  Sys() : root_(fs::temp_directory_path() / ("doctor-sys-" + std::to_string(::getpid()))) {
    fs::create_directories(root_ / "devices/sda/queue");
    fs::create_directories(root_ / "devices/sda/sda1");
    fs::create_directories(root_ / "dev/block");
    fs::create_directory_symlink(root_ / "devices/sda", root_ / "dev/block/8:0");
    fs::create_directory_symlink(root_ / "devices/sda/sda1", root_ / "dev/block/8:1");
    write("devices/sda/sda1/partition", "1\n");
    write("devices/sda/queue/write_cache", "write back\n");
    write("devices/sda/queue/rotational", "1\n");
    write("devices/sda/queue/stable_writes", "0\n");
    write("devices/sda/queue/read_ahead_kb", "4096\n");
  }
  ~Sys() override { fs::remove_all(root_); }

  void write(const std::string& name, const std::string& text) const {
    std::ofstream(root_ / name) << text;
  }

  fs::path root_;
};

TEST_F(Sys, APartitionHasTheQueueOfItsDisk) {
  for (const unsigned minor : {0U, 1U}) {
    const auto disk = read_block_device(root_, 8, minor);
    ASSERT_TRUE(disk);
    EXPECT_EQ(disk->name, "sda");
    EXPECT_EQ(disk->write_cache, "write back");
    EXPECT_EQ(disk->rotational, true);
    EXPECT_EQ(disk->stable_writes, false);
    EXPECT_EQ(disk->read_ahead_kib, 4096);
    EXPECT_EQ(disk->backing_file, std::nullopt);
  }
}

TEST_F(Sys, OldKernelsSayLess) {
  fs::remove(root_ / "devices/sda/queue/stable_writes");
  EXPECT_EQ(read_block_device(root_, 8, 0)->stable_writes, std::nullopt);
  EXPECT_FALSE(read_block_device(root_, 9, 0));
}

DirectIoFacts good_direct_io() {
  DirectIoFacts facts;
  facts.memory_align_bytes = 4;
  facts.offset_align_bytes = 512;
  facts.write_ns = 114'000;
  return facts;
}

TEST(DirectIo, WorksWithItsAlignmentAndTime) {
  const Finding finding = whole(judge_direct_io(good_direct_io(), "/srv"));
  EXPECT_EQ(finding.level, Level::ok);
  EXPECT_EQ(value<std::uint64_t>(finding, "direct_io_offset_align_bytes"), 512U);
  EXPECT_EQ(value<std::uint64_t>(finding, "direct_io_memory_align_bytes"), 4U);
  EXPECT_EQ(value<std::uint64_t>(finding, "durable_write_ns"), 114'000U);
  EXPECT_THAT(finding.found, HasSubstr("114 us"));
}

TEST(DirectIo, RefusedAtOpenOrAtTheWrite) {
  DirectIoFacts facts = good_direct_io();
  facts.open_error = EINVAL;
  EXPECT_EQ(whole(judge_direct_io(facts, "/srv")).level, Level::warning);
  EXPECT_FALSE(value<bool>(judge_direct_io(facts, "/srv"), "works"));
  facts = good_direct_io();
  facts.write_error = EOPNOTSUPP;
  EXPECT_EQ(whole(judge_direct_io(facts, "/srv")).level, Level::warning);
}

TEST(DirectIo, AnAlignmentOfZeroMeansThatItIsNotReal) {
  DirectIoFacts facts = good_direct_io();
  facts.offset_align_bytes = 0;
  EXPECT_EQ(whole(judge_direct_io(facts, "/srv")).level, Level::warning);
}

TEST(DirectIo, LargeBlocksAreNoted) {
  DirectIoFacts facts = good_direct_io();
  facts.offset_align_bytes = 4096;
  EXPECT_EQ(judge_direct_io(facts, "/srv").level, Level::ok);
  facts.offset_align_bytes = 16384;
  EXPECT_EQ(whole(judge_direct_io(facts, "/srv")).level, Level::note);
}

TEST(DirectIo, UnknownAlignmentIsNoFault) {
  DirectIoFacts facts = good_direct_io();
  facts.offset_align_bytes.reset();
  EXPECT_EQ(whole(judge_direct_io(facts, "/srv")).level, Level::ok);
}

TEST(DirectIo, WithoutPermissionItIsUnknownAndWhyIsSaid) {
  DirectIoFacts facts;
  facts.file_error = EACCES;
  const Finding finding = whole(judge_direct_io(facts, "/srv"));
  EXPECT_EQ(finding.level, Level::note);
  EXPECT_THAT(finding.found, HasSubstr("unknown"));
  EXPECT_THAT(finding.found, HasSubstr("Permission denied"));
}

TEST(Mapping, EachFailureIsAProblem) {
  EXPECT_EQ(whole(judge_mapping({}, "/srv")).level, Level::ok);
  EXPECT_EQ(whole(judge_mapping({0, EOPNOTSUPP, 0}, "/srv")).level, Level::problem);
  EXPECT_THAT(judge_mapping({0, EOPNOTSUPP, 0}, "/srv").found, HasSubstr("SIGBUS"));
  EXPECT_THAT(whole(judge_mapping({0, ENOSPC, 0}, "/srv")).fix, HasSubstr("make room"));
  EXPECT_EQ(whole(judge_mapping({0, 0, ENODEV}, "/srv")).level, Level::problem);
  EXPECT_EQ(whole(judge_mapping({EACCES, 0, 0}, "/srv")).level, Level::note);
}

TEST(Space, AgainstWhatTheLogTakesNext) {
  const auto level = [](std::uint64_t free_bytes) {
    return the(whole(judge_space({free_bytes, std::nullopt}, 1000, "/srv")), "free_space").level;
  };
  EXPECT_EQ(level(999), Level::problem);
  EXPECT_EQ(level(1000), Level::warning);
  EXPECT_EQ(level(3999), Level::warning);
  EXPECT_EQ(level(4000), Level::ok);
}

TEST(Space, Inodes) {
  const auto level = [](std::uint64_t inodes) {
    return the(whole(judge_space({1 << 20, inodes}, 1, "/srv")), "free_inodes").level;
  };
  EXPECT_EQ(level(3), Level::problem);
  EXPECT_EQ(level(100), Level::warning);
  EXPECT_EQ(level(1000), Level::ok);
  EXPECT_EQ(judge_space({1 << 20, std::nullopt}, 1, "/srv").size(), 1U);
}

}  // namespace
}  // namespace tailrace::doctor
