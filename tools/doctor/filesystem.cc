#include "doctor/filesystem.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace tailrace::doctor {
namespace {

constexpr const char* kMoveToLocal = "put the log on a local ext4 or XFS file system";

struct Kind {
  std::string_view type;
  Level level;
  std::string_view durable;  // "yes", "no", "unknown"
  std::string_view why;
};

constexpr std::string_view kNetwork =
    "a network file system: other hosts see neither the lock nor the mapped memory, and an outage "
    "is a SIGBUS";
constexpr std::string_view kNoReservation =
    "blocks cannot be reserved there (no fallocate), so a full disk would be a SIGBUS";

// Not btrfs, overlay and FUSE, which need more than a line.
constexpr std::array kKinds = {
    Kind{"ext4", Level::ok, "yes", "made for it"},
    Kind{"xfs", Level::ok, "yes", "made for it"},
    Kind{"tmpfs", Level::warning, "no", "memory: a reboot or power cut loses everything"},
    Kind{"ramfs", Level::problem, "no", kNoReservation},
    Kind{"nfs", Level::problem, "unknown", kNetwork},
    Kind{"nfs4", Level::problem, "unknown", kNetwork},
    Kind{"cifs", Level::problem, "unknown", kNetwork},
    Kind{"smb3", Level::problem, "unknown", kNetwork},
    Kind{"smbfs", Level::problem, "unknown", kNetwork},
    Kind{"9p", Level::problem, "unknown", kNetwork},
    Kind{"ceph", Level::problem, "unknown", kNetwork},
    Kind{"afs", Level::problem, "unknown", kNetwork},
    Kind{"lustre", Level::problem, "unknown", kNetwork},
    Kind{"gpfs", Level::problem, "unknown", kNetwork},
    Kind{"gfs2", Level::problem, "unknown", kNetwork},
    Kind{"ocfs2", Level::problem, "unknown", kNetwork},
    Kind{"ext2", Level::problem, "yes", kNoReservation},
    Kind{"ext3", Level::problem, "yes", kNoReservation},
    Kind{"vfat", Level::problem, "yes", "it keeps no owners and modes, which guard a log"},
    Kind{"exfat", Level::problem, "yes", "it keeps no owners and modes, which guard a log"},
    Kind{"zfs", Level::warning, "yes",
         "copy-on-write: reserved blocks do not help when it is full, and that would be a SIGBUS"},
    Kind{"bcachefs", Level::warning, "yes",
         "copy-on-write: reserved blocks do not help when it is full, and that would be a SIGBUS"},
};

bool is_fuse(std::string_view type) {
  return type == "fuse" || type == "fuseblk" || type == "virtiofs" || type.starts_with("fuse.");
}

Finding finding(const Mount& mount, Level level, std::string_view durable, std::string_view why,
                std::string fix) {
  return {"filesystem",
          level,
          fmt::format("{} ({} on {}): {}", mount.type, mount.source, mount.point, why),
          std::move(fix),
          {{"type", mount.type}, {"mount_point", mount.point}, {"durable", std::string(durable)}}};
}

Finding btrfs(const Mount& mount, const FileFacts& facts, const std::string& directory) {
  const std::string fix = fmt::format(
      "before files are made there: chattr +C {} (an existing log: make a new directory, "
      "chattr +C, cp --reflink=never the files into it, no writer running)",
      directory);
  if (mount.has("nodatacow") || facts.no_copy_on_write == true) {
    return finding(mount, Level::ok, "yes", "without copy-on-write for new files here", {});
  }
  if (!facts.no_copy_on_write) {
    return finding(mount, Level::note, "yes",
                   "unknown whether new files here are copied on write: cannot read the flag", fix);
  }
  return finding(mount, Level::warning, "yes",
                 "copy-on-write: each commit of the journal moves blocks, and reserved blocks do "
                 "not help when the disk is full: that would be a SIGBUS",
                 fix);
}

Finding overlay(const Mount& mount) {
  const std::string upper = mount.value_of("upperdir").value_or("its upper directory");
  return finding(mount, Level::warning, "unknown",
                 fmt::format("the layer of a container: it goes when the container is removed, and "
                             "is as durable as the file system of {}",
                             upper),
                 "mount a volume of the host there: docker run -v /srv/logs:/logs …");
}

Finding xfs_reflink(const Mount& mount) {
  return {"reflink",
          Level::note,
          fmt::format("XFS on {} can share blocks between files: after a reflink copy of a live "
                      "log (cp makes one by default) writing into it must allocate again, slowly, "
                      "and on a full disk with SIGBUS",
                      mount.point),
          "copy logs with: cp --reflink=never",
          {{"reflink", true}}};
}

}  // namespace

std::vector<Finding> judge_filesystem(const Mount& mount, const FileFacts& facts,
                                      const std::string& directory) {
  if (mount.type == "btrfs") return {btrfs(mount, facts, directory)};
  if (mount.type == "overlay") return {overlay(mount)};
  if (is_fuse(mount.type)) {
    return {finding(mount, Level::warning, "unknown",
                    "FUSE: another process decides what durable means, and its death is a SIGBUS",
                    kMoveToLocal)};
  }
  const auto* const kind = std::find_if(kKinds.begin(), kKinds.end(),
                                        [&](const Kind& k) { return k.type == mount.type; });
  if (kind == kKinds.end()) {
    return {
        finding(mount, Level::warning, "unknown", "nobody has tried a log there", kMoveToLocal)};
  }
  std::vector<Finding> found{finding(mount, kind->level, kind->durable, kind->why,
                                     kind->level == Level::ok ? "" : kMoveToLocal)};
  if (mount.type == "xfs" && facts.reflink == true) found.push_back(xfs_reflink(mount));
  return found;
}

}  // namespace tailrace::doctor
