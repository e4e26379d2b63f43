// Reading /proc/self/mountinfo.

#include "doctor/mount.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tailrace::doctor {
namespace {

constexpr const char* kText =
    "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
    "27 1 254:0 / / rw,noatime shared:1 master:2 - ext4 /dev/vda rw,lazytime,data=journal\n"
    "30 27 0:27 / /srv\\040one\\134x rw - tmpfs  rw,size=64k\n"
    "31 27 0:28 / /srv rw - nfs4 host:/a\\011b rw\n"
    "32 27 0:29 / /srv rw - tmpfs over rw\n"
    "this is no mount\n"
    "33 27 0 / /x rw - tmpfs t rw\n"
    "34 27 0:30 / /short rw -\n";

TEST(Mountinfo, EveryFieldIsRead) {
  const auto mounts = parse_mountinfo(kText);
  ASSERT_EQ(mounts.size(), 5U);
  const Mount& root = mounts[1];
  EXPECT_EQ(root.id, 27U);
  EXPECT_EQ(root.major, 254U);
  EXPECT_EQ(root.minor, 0U);
  EXPECT_EQ(root.point, "/");
  EXPECT_EQ(root.type, "ext4");
  EXPECT_EQ(root.source, "/dev/vda");
  EXPECT_THAT(root.options,
              testing::ElementsAre("rw", "noatime", "rw", "lazytime", "data=journal"));
}

TEST(Mountinfo, EscapesAndAnEmptySource) {
  const auto mounts = parse_mountinfo(kText);
  EXPECT_EQ(mounts[2].point, "/srv one\\x");
  EXPECT_EQ(mounts[2].source, "");
  EXPECT_TRUE(mounts[2].has("size=64k"));
  EXPECT_EQ(mounts[3].source, "host:/a\tb");
}

TEST(Mountinfo, OptionsAreWholeWords) {
  const Mount root = parse_mountinfo(kText)[1];
  EXPECT_TRUE(root.has("lazytime"));
  EXPECT_FALSE(root.has("lazy"));
  EXPECT_FALSE(root.has("data"));
  EXPECT_EQ(root.value_of("data"), "journal");
  EXPECT_EQ(root.value_of("dat"), std::nullopt);
  EXPECT_EQ(root.value_of("lazytime"), std::nullopt);
}

TEST(Mountinfo, TheIdDecides) {
  const auto mounts = parse_mountinfo(kText);
  EXPECT_EQ(find_mount(mounts, 31, "/proc")->type, "nfs4");
}

TEST(Mountinfo, WithoutIdTheNearestAndLastAboveThePathIsTaken) {
  const auto mounts = parse_mountinfo(kText);
  EXPECT_EQ(find_mount(mounts, std::nullopt, "/srv/log")->source, "over");
  EXPECT_EQ(find_mount(mounts, std::nullopt, "/srv")->source, "over");
  EXPECT_EQ(find_mount(mounts, std::nullopt, "/srvx")->type, "ext4");
  EXPECT_EQ(find_mount(mounts, 99, "/proc/self")->type, "proc");
  EXPECT_EQ(find_mount({}, 1, "/"), nullptr);
}

}  // namespace
}  // namespace tailrace::doctor
