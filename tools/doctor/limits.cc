#include "doctor/limits.h"

#include <fmt/format.h>
#include <sys/resource.h>

namespace tailrace::doctor {
namespace {

// A writer has its log's files, and one descriptor per segment that is not yet synced; a service
// also one per client.
constexpr std::uint64_t kFewFiles = 64;
constexpr std::uint64_t kEnoughFiles = 1024;

std::optional<std::uint64_t> soft_limit(decltype(RLIMIT_NOFILE) which) {
  rlimit limit{};
  if (::getrlimit(which, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return std::nullopt;
  return limit.rlim_cur;
}

}  // namespace

LimitFacts probe_limits() { return {soft_limit(RLIMIT_FSIZE), soft_limit(RLIMIT_NOFILE)}; }

Finding judge_file_size_limit(const LimitFacts& facts, std::uint64_t needed_bytes) {
  if (!facts.file_size_bytes) {
    return {"file_size_limit", Level::ok, "RLIMIT_FSIZE is unlimited", {}};
  }
  Finding finding{"file_size_limit",
                  Level::ok,
                  fmt::format("RLIMIT_FSIZE is {} bytes", *facts.file_size_bytes),
                  {},
                  {{"limit_bytes", *facts.file_size_bytes}, {"needed_bytes", needed_bytes}}};
  if (*facts.file_size_bytes >= needed_bytes) return finding;
  finding.level = Level::problem;
  finding.found += fmt::format(", and a file of the log takes {}", needed_bytes);
  finding.fix = "ulimit -f unlimited; to stay: LimitFSIZE=infinity in the unit file";
  return finding;
}

Finding judge_open_files_limit(const LimitFacts& facts) {
  if (!facts.open_files) {
    return {"open_files_limit", Level::ok, "RLIMIT_NOFILE is unlimited", {}};
  }
  Finding finding{"open_files_limit",
                  Level::ok,
                  fmt::format("RLIMIT_NOFILE is {}", *facts.open_files),
                  {},
                  {{"limit_files", *facts.open_files}}};
  if (*facts.open_files >= kEnoughFiles) return finding;
  finding.level = *facts.open_files < kFewFiles ? Level::warning : Level::note;
  finding.found += ", little for many segments and clients";
  finding.fix =
      fmt::format("ulimit -n {0}; to stay: LimitNOFILE={0} in the unit file", kEnoughFiles);
  return finding;
}

}  // namespace tailrace::doctor
