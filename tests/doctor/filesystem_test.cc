// What kind of file system a log lies on, and how that is mounted.

#include "doctor/filesystem.h"

#include "doctor/findings.h"

namespace tailrace::doctor {
namespace {

using testing::HasSubstr;

Finding kind(const std::string& type, const std::string& options = "rw", FileFacts facts = {}) {
  return the(whole(judge_filesystem(mounted(type, options), facts, "/srv/logs")), "filesystem");
}

std::vector<Finding> options(const std::string& type, const std::string& text) {
  return whole(judge_mount_options(mounted(type, text)));
}

TEST(Filesystem, Ext4AndXfsAreGood) {
  for (const char* type : {"ext4", "xfs"}) {
    EXPECT_EQ(kind(type).level, Level::ok);
    EXPECT_EQ(text_value(kind(type), "durable"), "yes");
  }
}

TEST(Filesystem, TheValuesNameTypeAndPlace) {
  EXPECT_EQ(text_value(kind("ext4"), "type"), "ext4");
  EXPECT_EQ(text_value(kind("ext4"), "mount_point"), "/srv");
  EXPECT_THAT(kind("ext4").found, HasSubstr("/dev/sda1 on /srv"));
}

TEST(Filesystem, MemoryIsNotDurable) {
  EXPECT_EQ(kind("tmpfs").level, Level::warning);
  EXPECT_EQ(text_value(kind("tmpfs"), "durable"), "no");
  EXPECT_EQ(kind("ramfs").level, Level::problem);
  EXPECT_EQ(text_value(kind("ramfs"), "durable"), "no");
}

TEST(Filesystem, NetworksAreAProblem) {
  for (const char* type : {"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "lustre", "gfs2"}) {
    EXPECT_EQ(kind(type).level, Level::problem) << type;
    EXPECT_THAT(kind(type).found, HasSubstr("network")) << type;
    EXPECT_EQ(text_value(kind(type), "durable"), "unknown") << type;
  }
}

TEST(Filesystem, WithoutReservedBlocksOrModesThereIsAProblem) {
  for (const char* type : {"ext2", "ext3", "vfat", "exfat"}) {
    EXPECT_EQ(kind(type).level, Level::problem) << type;
  }
}

TEST(Filesystem, FuseIsIsAnotherProcess) {
  for (const char* type : {"fuse", "fuseblk", "fuse.sshfs", "virtiofs"}) {
    EXPECT_EQ(kind(type).level, Level::warning) << type;
    EXPECT_THAT(kind(type).found, HasSubstr("FUSE")) << type;
    EXPECT_EQ(text_value(kind(type), "durable"), "unknown") << type;
  }
}

TEST(Filesystem, OverlayNamesItsUpperDirectory) {
  const Finding finding = kind("overlay", "rw,lowerdir=/l,upperdir=/var/lib/u,workdir=/w");
  EXPECT_EQ(finding.level, Level::warning);
  EXPECT_EQ(text_value(finding, "durable"), "unknown");
  EXPECT_THAT(finding.found, HasSubstr("/var/lib/u"));
  EXPECT_THAT(finding.fix, HasSubstr("docker run -v"));
}

TEST(Filesystem, BtrfsNeedsNocow) {
  FileFacts facts;
  facts.no_copy_on_write = false;
  EXPECT_EQ(kind("btrfs", "rw", facts).level, Level::warning);
  EXPECT_THAT(kind("btrfs", "rw", facts).fix, HasSubstr("chattr +C /srv/logs"));
  EXPECT_EQ(kind("btrfs", "rw,nodatacow", facts).level, Level::ok);
  facts.no_copy_on_write = true;
  EXPECT_EQ(kind("btrfs", "rw", facts).level, Level::ok);
  EXPECT_EQ(kind("btrfs").level, Level::note);
  EXPECT_THAT(kind("btrfs").found, HasSubstr("unknown"));
}

TEST(Filesystem, OtherCopyOnWriteAndUnknownOnesAreWarnedAbout) {
  for (const char* type : {"zfs", "bcachefs", "frobfs"}) {
    EXPECT_EQ(kind(type).level, Level::warning) << type;
  }
  EXPECT_EQ(text_value(kind("frobfs"), "durable"), "unknown");
}

TEST(Filesystem, ReflinkXfsIsNoted) {
  FileFacts facts;
  facts.reflink = true;
  const auto found = whole(judge_filesystem(mounted("xfs", "rw"), facts, "/srv/logs"));
  EXPECT_EQ(the(found, "filesystem").level, Level::ok);
  EXPECT_EQ(the(found, "reflink").level, Level::note);
  EXPECT_THAT(the(found, "reflink").fix, HasSubstr("--reflink=never"));
  facts.reflink = false;
  EXPECT_EQ(judge_filesystem(mounted("xfs", "rw"), facts, "/srv/logs").size(), 1U);
}

TEST(MountOptions, NothingHarmful) {
  const auto found = options("ext4", "rw,lazytime,data=ordered,barrier=1,commit=5");
  EXPECT_EQ(the(found, "mount_options").level, Level::ok);
  EXPECT_EQ(the(found, "lazytime").level, Level::ok);
  EXPECT_TRUE(value<bool>(the(found, "lazytime"), "lazytime"));
}

TEST(MountOptions, LazytimeIsAdvisedWhereItHelps) {
  for (const char* type : {"ext4", "xfs"}) {
    const Finding finding = the(options(type, "rw"), "lazytime");
    EXPECT_EQ(finding.level, Level::note) << type;
    EXPECT_THAT(finding.fix, HasSubstr("remount,lazytime /srv")) << type;
  }
  EXPECT_EQ(options("tmpfs", "rw").size(), 1U);
}

TEST(MountOptions, DataJournal) {
  const Finding finding = the(options("ext4", "rw,data=journal"), "mount_options");
  EXPECT_EQ(finding.level, Level::warning);
  EXPECT_THAT(finding.fix, HasSubstr("tune2fs -o journal_data_ordered /dev/sda1"));
  EXPECT_EQ(text_value(finding, "option"), "data=journal");
}

TEST(MountOptions, TheRootIsNotUnmounted) {
  const auto mounts = parse_mountinfo("27 1 8:1 / / rw - ext4 /dev/sda1 rw,data=journal");
  const Finding finding = the(whole(judge_mount_options(mounts.at(0))), "mount_options");
  EXPECT_THAT(finding.fix, testing::StartsWith("from a rescue system: tune2fs"));
  EXPECT_THAT(the(options("ext4", "rw,data=journal"), "mount_options").fix,
              testing::StartsWith("umount /srv && tune2fs"));
}

TEST(MountOptions, APlaceWithASpaceIsQuoted) {
  const auto mounts = parse_mountinfo("27 1 8:1 / /my\\040logs ro - ext4 /dev/sda1 ro");
  const Finding finding = the(judge_mount_options(mounts.at(0)), "mount_options");
  EXPECT_THAT(finding.fix, HasSubstr("remount,rw '/my logs'"));
}

TEST(MountOptions, WithoutBarriersNothingIsDurable) {
  for (const char* text : {"rw,nobarrier", "rw,barrier=0"}) {
    const Finding finding = the(options("ext4", text), "mount_options");
    EXPECT_EQ(finding.level, Level::problem) << text;
    EXPECT_EQ(text_value(finding, "durable"), "no") << text;
  }
  EXPECT_EQ(the(options("f2fs", "rw,fsync_mode=nobarrier"), "mount_options").level, Level::problem);
  const Finding overlay = the(options("overlay", "rw,upperdir=/u,volatile"), "mount_options");
  EXPECT_EQ(overlay.level, Level::problem);
  EXPECT_EQ(text_value(overlay, "durable"), "no");
}

TEST(MountOptions, ReadOnly) {
  const Finding finding = the(options("ext4", "ro"), "mount_options");
  EXPECT_EQ(finding.level, Level::problem);
  EXPECT_THAT(finding.fix, HasSubstr("remount,rw /srv"));
}

TEST(MountOptions, WaitingForNothing) {
  EXPECT_EQ(the(options("ext4", "rw,sync"), "mount_options").level, Level::warning);
  EXPECT_EQ(the(options("ext4", "rw,dirsync"), "mount_options").level, Level::warning);
}

TEST(MountOptions, CompressedBtrfs) {
  EXPECT_EQ(the(options("btrfs", "rw,compress=zstd:3"), "mount_options").level, Level::note);
}

TEST(MountOptions, EachGetsAFindingOfItsOwn) {
  const auto found = options("ext4", "ro,nobarrier,data=journal,lazytime");
  EXPECT_EQ(found.size(), 4U);
  EXPECT_EQ(the(found, "mount_options", "data=journal").level, Level::warning);
  EXPECT_EQ(the(found, "mount_options", "nobarrier").level, Level::problem);
}

}  // namespace
}  // namespace tailrace::doctor
