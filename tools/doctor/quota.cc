#include "doctor/quota.h"

#include <fmt/format.h>
#include <sys/quota.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "doctor/shell.h"

namespace tailrace::doctor {
namespace {

constexpr const char* kOptions[] = {"usrquota", "uquota", "grpquota",   "gquota",     "prjquota",
                                    "pquota",   "quota",  "qnoenforce", "uqnoenforce"};

bool mounted_with_quota(const Mount& mount) {
  return std::any_of(std::begin(kOptions), std::end(kOptions),
                     [&](const char* option) { return mount.has(option); }) ||
         mount.value_of("usrjquota").has_value() || mount.value_of("grpjquota").has_value();
}

std::string how_to_limit(const Mount& mount) {
  const std::string limit = fmt::format(", then for each user: setquota -u USER 0 64M 0 1000 {}",
                                        shell_quoted(mount.point));
  if (mount.type == "xfs") return "uquota in /etc/fstab, mount it anew (/: reboot)" + limit;
  if (mount.type == "ext4") {
    return while_unmounted(mount, "tune2fs -O quota " + shell_quoted(mount.source)) + limit;
  }
  return "put the log on ext4 or XFS with quotas, or let no other user write there";
}

}  // namespace

QuotaFacts probe_quota(const Mount& mount) {
  QuotaFacts facts;
  dqblk block{};
  if (::quotactl(QCMD(Q_GETQUOTA, USRQUOTA), mount.source.c_str(), static_cast<int>(::geteuid()),
                 reinterpret_cast<caddr_t>(&block)) == 0) {
    facts.active = true;
    if ((block.dqb_valid & QIF_BLIMITS) != 0 && block.dqb_bhardlimit != 0) {
      const std::uint64_t limit_bytes = block.dqb_bhardlimit * 1024;  // counted in KiB
      facts.left_bytes = limit_bytes - std::min<std::uint64_t>(limit_bytes, block.dqb_curspace);
    }
  } else if (errno == ESRCH || errno == ENOTBLK || errno == ENOSYS) {
    facts.active = mounted_with_quota(mount);  // groups or projects, if at all
  } else if (mounted_with_quota(mount)) {
    facts.active = true;
  }
  return facts;
}

Finding judge_quota(const Mount& mount, const QuotaFacts& facts, std::uint64_t needed_bytes,
                    const std::string& shared_directory) {
  Finding finding{"quota", Level::ok, {}, {}};
  if (facts.active) finding.values.emplace_back("active", *facts.active);
  if (facts.left_bytes) finding.values.emplace_back("left_bytes", *facts.left_bytes);
  if (facts.left_bytes && *facts.left_bytes < needed_bytes) {
    finding.level = Level::problem;
    finding.found = fmt::format("your quota on {} leaves {} MiB, {} MiB are needed next",
                                mount.point, *facts.left_bytes >> 20, needed_bytes >> 20);
    finding.fix = fmt::format("edquota -u {} (as root), or free some of your files on {}",
                              ::geteuid(), mount.point);
    return finding;
  }
  const std::string state = facts.active == true    ? "on"
                            : facts.active == false ? "off"
                                                    : "not known to be on";
  finding.found = fmt::format("quotas are {} for {}", state, mount.point);
  if (facts.active != true && !shared_directory.empty()) {
    finding.level = Level::note;
    finding.found += fmt::format(
        ", and other users may put files into {}: nothing stops them from filling the disk",
        shared_directory);
    finding.fix = how_to_limit(mount);
  }
  return finding;
}

}  // namespace tailrace::doctor
