#include "doctor/directory.h"

#include <fmt/format.h>
#include <pwd.h>
#include <sys/stat.h>

#include <vector>

namespace tailrace::doctor {
namespace {

std::string user(uid_t uid) {
  passwd entry{};
  passwd* found = nullptr;
  std::vector<char> buffer(16384);
  if (::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr) {
    return found->pw_name;
  }
  return fmt::format("#{}", uid);  // as sudo -u takes it
}

/// May others than the owner put files there, or rename those that are there?
void judge_others(const DirectoryFacts& facts, Finding& finding) {
  const bool others = (facts.mode & (S_IWGRP | S_IWOTH)) != 0;
  if (!others) return;
  const char* const who = (facts.mode & S_IWOTH) != 0 ? "everybody" : "its group";
  if (facts.is_log) {
    finding.level = Level::warning;
    finding.found += fmt::format("; {} may replace the log's files", who);
    finding.fix = fmt::format("chmod g-w,o-w {}", facts.path);
  } else if ((facts.mode & S_ISVTX) == 0) {
    finding.level = Level::warning;
    finding.found += fmt::format("; {} may remove or rename a log there", who);
    finding.fix =
        fmt::format("make a directory of its own for logs: install -d -m 750 {}/logs", facts.path);
  }
}

}  // namespace

Finding judge_directory(const DirectoryFacts& facts) {
  Finding finding{"directory",
                  Level::ok,
                  fmt::format("{} is {}, of user {}, mode {:04o}", facts.path,
                              facts.is_log ? "a log" : "a directory without a log",
                              user(facts.owner), facts.mode & 07777U),
                  {},
                  {{"kind", std::string(facts.is_log ? "log" : "directory")},
                   {"writable", facts.writable},
                   {"owner_uid", std::uint64_t{facts.owner}},
                   {"mode", fmt::format("{:04o}", facts.mode & 07777U)}}};
  judge_others(facts, finding);
  if (facts.writable || facts.read_only) return finding;
  finding.found +=
      facts.is_log ? "; you can write nothing there, only read" : "; you can make no log there";
  if (!facts.searchable) finding.found += ", nor see what is in it";
  if (finding.level == Level::ok) {
    finding.level = facts.is_log ? Level::note : Level::warning;
    finding.fix = fmt::format("sudo -u '{}' tailrace doctor {}", user(facts.owner), facts.path);
  }
  return finding;
}

}  // namespace tailrace::doctor
