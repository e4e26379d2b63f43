#include <fmt/format.h>

#include "doctor/filesystem.h"
#include "doctor/shell.h"

namespace tailrace::doctor {
namespace {

struct Judge {
  const Mount& mount;
  std::vector<Finding> found = {};

  Finding& say(Level level, std::string_view option, std::string_view why, std::string fix) {
    return found.emplace_back(
        Finding{"mount_options",
                level,
                fmt::format("{} is mounted with {}: {}", mount.point, option, why),
                std::move(fix),
                {{"option", std::string(option)}}});
  }

  void say_not_durable(std::string_view option, std::string_view why, std::string fix) {
    say(Level::problem, option, why, std::move(fix)).values.emplace_back("durable", "no");
  }

  [[nodiscard]] std::string remount(std::string_view option) const {
    return fmt::format("mount -o remount,{} {} (and in /etc/fstab)", option,
                       shell_quoted(mount.point));
  }
};

bool is_ext4(const Mount& mount) { return mount.type == "ext4" || mount.type == "ext3"; }

void judge_flushes(Judge& judge) {
  const Mount& mount = judge.mount;
  if (mount.has("nobarrier") || mount.value_of("barrier") == "0") {
    judge.say_not_durable(
        "nobarrier",
        "the drive's cache is not flushed, so what is called durable is lost in a power cut",
        judge.remount("barrier"));
  }
  if (mount.value_of("fsync_mode") == "nobarrier") {
    judge.say_not_durable("fsync_mode=nobarrier", "fsync does not flush the drive's cache",
                          judge.remount("fsync_mode=posix"));
  }
  if (mount.type == "overlay" && mount.has("volatile")) {
    judge.say_not_durable(
        "volatile", "fsync does nothing there, so nothing is ever durable",
        fmt::format("mount {} without volatile, or put a volume there", shell_quoted(mount.point)));
  }
}

void judge_times(Judge& judge) {
  const Mount& mount = judge.mount;
  if ((is_ext4(mount) || mount.type == "xfs") && !mount.has("lazytime")) {
    judge.found.push_back(
        {"lazytime",
         Level::note,
         fmt::format("{} is mounted without lazytime: the first store to a mapped page after each "
                     "write-back also changes the file's time on disk, and may wait for the file "
                     "system's own journal",
                     mount.point),
         judge.remount("lazytime"),
         {{"lazytime", false}}});
  } else if (mount.has("lazytime")) {
    judge.found.push_back({"lazytime",
                           Level::ok,
                           fmt::format("{} is mounted with lazytime", mount.point),
                           {},
                           {{"lazytime", true}}});
  }
}

}  // namespace

std::vector<Finding> judge_mount_options(const Mount& mount) {
  Judge judge{mount};
  if (mount.has("ro")) {
    judge.say(Level::problem, "ro", "nothing can be written; logs there can be read",
              judge.remount("rw"));
  }
  judge_flushes(judge);
  if (is_ext4(mount) && mount.value_of("data") == "journal") {
    judge.say(Level::warning, "data=journal",
              "every byte goes through the file system's journal as well, and O_DIRECT does not "
              "work: commits take many times as long",
              while_unmounted(mount, fmt::format("tune2fs -o journal_data_ordered {}",
                                                 shell_quoted(mount.source))) +
                  " (and no data=journal in /etc/fstab)");
  }
  for (const std::string_view option : {"sync", "dirsync"}) {
    if (!mount.has(option)) continue;
    judge.say(Level::warning, option, "the file system waits for the disk when it need not",
              judge.remount(option == "sync" ? "async" : "rw"));
  }
  if (mount.type == "btrfs" && (mount.value_of("compress-force") || mount.value_of("compress"))) {
    judge.say(Level::note, "compress",
              "compressed blocks are always copied on write; only files with chattr +C escape",
              "chattr +C the directory of the log, before files are made in it");
  }
  if (judge.found.empty()) {
    judge.found.push_back({"mount_options",
                           Level::ok,
                           fmt::format("nothing harmful among the options of {}", mount.point),
                           {}});
  }
  judge_times(judge);
  return judge.found;
}

}  // namespace tailrace::doctor
