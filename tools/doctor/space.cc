#include "doctor/space.h"

#include <fmt/format.h>
#include <sys/statvfs.h>

namespace tailrace::doctor {
namespace {

constexpr std::uint64_t kAmple = 4;       // times what is needed next
constexpr std::uint64_t kFewInodes = 16;  // the files of a new log
constexpr std::uint64_t kAmpleInodes = 1000;

Finding judge_bytes(const SpaceFacts& facts, std::uint64_t needed_bytes, const std::string& place) {
  Finding finding{"free_space",
                  Level::ok,
                  fmt::format("{} MiB free in {}, {} MiB are needed next", facts.free_bytes >> 20,
                              place, needed_bytes >> 20),
                  {},
                  {{"free_bytes", facts.free_bytes}, {"needed_bytes", needed_bytes}}};
  if (facts.free_bytes >= kAmple * needed_bytes) return finding;
  finding.level = facts.free_bytes < needed_bytes ? Level::problem : Level::warning;
  finding.fix = fmt::format(
      "make room (du -xh {} | sort -h), a larger file system, or smaller segments: tailrace create "
      "--segment-size",
      place);
  return finding;
}

Finding judge_inodes(std::uint64_t free_inodes, const std::string& place) {
  Finding finding{"free_inodes",
                  Level::ok,
                  fmt::format("{} inodes free in {}", free_inodes, place),
                  {},
                  {{"free_inodes", free_inodes}}};
  if (free_inodes >= kAmpleInodes) return finding;
  finding.level = free_inodes < kFewInodes ? Level::problem : Level::warning;
  finding.found += "; each segment takes two";
  finding.fix = fmt::format(
      "remove small files (du -x --inodes {} | sort -n), or larger segments: tailrace create "
      "--segment-size",
      place);
  return finding;
}

}  // namespace

std::optional<SpaceFacts> probe_space(int directory) {
  struct statvfs status {};
  if (::fstatvfs(directory, &status) != 0) return std::nullopt;
  SpaceFacts facts;
  facts.free_bytes = std::uint64_t{status.f_bavail} * status.f_frsize;
  if (status.f_files != 0) facts.free_inodes = status.f_favail;
  return facts;
}

std::vector<Finding> judge_space(const SpaceFacts& facts, std::uint64_t needed_bytes,
                                 const std::string& place) {
  std::vector<Finding> found{judge_bytes(facts, needed_bytes, place)};
  if (facts.free_inodes) found.push_back(judge_inodes(*facts.free_inodes, place));
  return found;
}

}  // namespace tailrace::doctor
