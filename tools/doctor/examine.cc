#include "doctor/examine.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <iterator>

#include "doctor/block_device.h"
#include "doctor/clock_source.h"
#include "doctor/direct_io.h"
#include "doctor/limits.h"
#include "doctor/mapping.h"
#include "doctor/place.h"
#include "doctor/quota.h"
#include "doctor/space.h"
#include "doctor/uring.h"

namespace tailrace::doctor {
namespace {

using Findings = std::vector<Finding>;

void add(Findings& all, Findings more) {
  all.insert(all.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

Findings examine_device(const Mount& mount) {
  unsigned major = mount.major;
  unsigned minor = mount.minor;
  struct stat status {};
  // btrfs and others show a number of their own.
  if (major == 0 && ::stat(mount.source.c_str(), &status) == 0 && S_ISBLK(status.st_mode)) {
    major = ::gnu_dev_major(status.st_rdev);
    minor = ::gnu_dev_minor(status.st_rdev);
  }
  if (major == 0 && mount.type == "overlay") {
    return {unknown("block_device", "an overlay does not say on which device its files lie",
                    "run tailrace doctor on the host, for the upper directory")};
  }
  if (major == 0) {
    return {{"block_device",
             Level::ok,
             fmt::format("{} on {} has no block device", mount.type, mount.point),
             {}}};
  }
  const auto device = read_block_device("/sys", major, minor);
  if (device) return judge_block_device(*device);
  return {unknown("block_device", fmt::format("/sys/dev/block/{}:{} is not there", major, minor),
                  "mount -t sysfs sysfs /sys, or run tailrace doctor on the host")};
}

Findings examine_mount(const Place& place) {
  if (!place.mount) {
    return {unknown("filesystem", "/proc/self/mountinfo does not name it",
                    "mount -t proc proc /proc, and run tailrace doctor again")};
  }
  const Mount& mount = *place.mount;
  Findings all = judge_filesystem(mount, probe_files(place), place.name);
  add(all, judge_mount_options(mount));
  add(all, examine_device(mount));
  all.push_back(judge_quota(mount, probe_quota(mount), place.needed_bytes, place.shared_directory));
  return all;
}

Findings examine_files(const Place& place) {
  const int directory = place.fd.get();
  Findings all{judge_direct_io(probe_direct_io(directory), place.name),
               judge_mapping(probe_mapping(directory), place.name)};
  if (const auto space = probe_space(directory)) {
    add(all, judge_space(*space, place.needed_bytes, place.name));
  } else {
    all.push_back(
        unknown("free_space", "the file system does not tell", fmt::format("df {}", place.name)));
  }
  return all;
}

Findings examine_process(const Place& place) {
  const UringFacts uring = probe_uring();
  const LimitFacts limits = probe_limits();
  return {judge_uring(uring), judge_memlock(probe_memlock(uring)),
          judge_file_size_limit(limits, place.largest_bytes), judge_open_files_limit(limits),
          judge_clock(probe_clock())};
}

}  // namespace

Result<Findings> examine(const std::string& path) {
  const auto place = look_at(path);
  if (!place) return fail(place.error());
  Findings all{judge_directory(place->directory)};
  add(all, examine_mount(*place));
  add(all, examine_files(*place));
  add(all, examine_process(*place));
  return all;
}

}  // namespace tailrace::doctor
