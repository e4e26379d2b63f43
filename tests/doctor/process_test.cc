// What the kernel grants this process: io_uring, limits, clocks, quotas, permissions.

#include <sys/stat.h>

#include <cerrno>

#include "doctor/clock_source.h"
#include "doctor/directory.h"
#include "doctor/findings.h"
#include "doctor/limits.h"
#include "doctor/quota.h"
#include "doctor/shell.h"
#include "doctor/uring.h"

namespace tailrace::doctor {
namespace {

using testing::HasSubstr;

UringFacts refused(int error, bool seccomp = false) {
  UringFacts facts;
  facts.setup_error = error;
  facts.disabled = 0;
  facts.seccomp = seccomp;
  return facts;
}

TEST(Uring, Allowed) {
  EXPECT_EQ(whole(judge_uring({})).level, Level::ok);
  EXPECT_TRUE(value<bool>(judge_uring({}), "allowed"));
}

TEST(Uring, EachRefusalHasItsOwnFix) {
  for (const int error : {ENOSYS, EPERM, ENOMEM, EINVAL}) {
    EXPECT_EQ(whole(judge_uring(refused(error))).level, Level::warning);
    EXPECT_FALSE(value<bool>(judge_uring(refused(error)), "allowed"));
  }
  EXPECT_THAT(judge_uring(refused(ENOSYS)).found, HasSubstr("ENOSYS"));
  EXPECT_THAT(judge_uring(refused(ENOSYS)).fix, HasSubstr("CONFIG_IO_URING"));
  EXPECT_THAT(judge_uring(refused(EPERM)).found, HasSubstr("EPERM"));
  EXPECT_THAT(judge_uring(refused(EPERM)).fix, HasSubstr("SELinux"));
  EXPECT_THAT(judge_uring(refused(ENOMEM)).fix, HasSubstr("LimitMEMLOCK"));
}

TEST(Uring, AContainersFilter) {
  for (const int error : {ENOSYS, EPERM}) {
    EXPECT_THAT(judge_uring(refused(error, true)).fix, HasSubstr("seccomp=")) << error;
  }
}

TEST(Uring, SwitchedOffForTheWholeSystem) {
  UringFacts facts = refused(EPERM, true);
  facts.disabled = 2;
  EXPECT_THAT(judge_uring(facts).found, HasSubstr("io_uring_disabled is 2"));
  EXPECT_THAT(judge_uring(facts).fix, HasSubstr("sysctl -w kernel.io_uring_disabled=0"));
}

TEST(Uring, TooOld) {
  UringFacts facts;
  facts.too_old = true;
  EXPECT_EQ(whole(judge_uring(facts)).level, Level::warning);
  EXPECT_THAT(judge_uring(facts).fix, HasSubstr("5.11"));
}

TEST(Memlock, LimitsAgainstTheJournalsBuffers) {
  MemlockFacts facts;
  EXPECT_EQ(whole(judge_memlock(facts)).level, Level::ok);
  EXPECT_THAT(judge_memlock(facts).found, HasSubstr("unlimited"));
  facts.limit_bytes = kRegisteredBytes;
  EXPECT_EQ(judge_memlock(facts).level, Level::ok);
  facts.limit_bytes = 65536;
  EXPECT_EQ(whole(judge_memlock(facts)).level, Level::note);
  EXPECT_EQ(value<std::uint64_t>(judge_memlock(facts), "limit_bytes"), 65536U);
  facts.exempt = true;
  EXPECT_EQ(whole(judge_memlock(facts)).level, Level::ok);
  facts.register_error = ENOMEM;  // whatever the limit says
  EXPECT_EQ(whole(judge_memlock(facts)).level, Level::note);
}

TEST(Limits, FileSize) {
  EXPECT_EQ(whole(judge_file_size_limit({}, 1000)).level, Level::ok);
  EXPECT_EQ(whole(judge_file_size_limit({1000, {}}, 1000)).level, Level::ok);
  EXPECT_EQ(whole(judge_file_size_limit({999, {}}, 1000)).level, Level::problem);
}

TEST(Limits, OpenFiles) {
  EXPECT_EQ(whole(judge_open_files_limit({})).level, Level::ok);
  EXPECT_EQ(whole(judge_open_files_limit({{}, 1024})).level, Level::ok);
  EXPECT_EQ(whole(judge_open_files_limit({{}, 256})).level, Level::note);
  EXPECT_EQ(whole(judge_open_files_limit({{}, 20})).level, Level::warning);
}

TEST(Clock, TheFastOnesAreOk) {
  for (const char* source : {"tsc", "kvm-clock", "arch_sys_counter"}) {
    EXPECT_EQ(whole(judge_clock({source, "tsc kvm-clock", true, 25})).level, Level::ok) << source;
  }
  EXPECT_EQ(judge_clock({"arch_sys_counter", "arch_sys_counter", {}, 30}).level, Level::ok);
  EXPECT_EQ(judge_clock({{}, {}, {}, 30}).level, Level::ok);
}

TEST(Clock, ASlowOneIsNamedWithTheWayBackToTsc) {
  const Finding finding = whole(judge_clock({"hpet", "tsc hpet acpi_pm", true, 1200}));
  EXPECT_EQ(finding.level, Level::note);  // records are stamped by the TSC
  EXPECT_THAT(finding.fix, HasSubstr("echo tsc > /sys/"));
  const Finding no_tsc = whole(judge_clock({"acpi_pm", "hpet acpi_pm", false, 1200}));
  EXPECT_EQ(no_tsc.level, Level::warning);
  EXPECT_THAT(no_tsc.fix, HasSubstr("hypervisor"));
}

TEST(Clock, ATscThatTheKernelHasGivenUp) {
  const Finding finding = whole(judge_clock({"hpet", "hpet acpi_pm", true, 1200}));
  EXPECT_EQ(finding.level, Level::warning);
  EXPECT_THAT(finding.found, HasSubstr("drift"));
}

TEST(Clock, NoInvariantTscIsNoted) {
  EXPECT_EQ(whole(judge_clock({"kvm-clock", "kvm-clock", false, 30})).level, Level::note);
}

TEST(Clock, CpuinfoIsReadByWholeWords) {
  EXPECT_EQ(parse_invariant_tsc("processor\t: 0\nflags\t\t: fpu constant_tsc nonstop_tsc\nbugs\t:"),
            true);
  EXPECT_EQ(parse_invariant_tsc("processor\t: 0\nflags\t\t: fpu constant_tsc xnonstop_tsc\n"),
            false);
  EXPECT_EQ(parse_invariant_tsc("processor\t: 0\nflags\t\t: constant_tsc\nbugs\t: nonstop_tsc\n"),
            false);
  EXPECT_EQ(parse_invariant_tsc("processor\t: 0\nFeatures\t: crc32\n"), std::nullopt);
}

TEST(Quota, ASharedDirectoryWithoutQuotaIsNoted) {
  const Mount ext4 = mounted("ext4", "rw");
  const Finding finding = whole(judge_quota(ext4, {false, {}}, 1, "/srv/log/consumers"));
  EXPECT_EQ(finding.level, Level::note);
  EXPECT_THAT(finding.found, HasSubstr("/srv/log/consumers"));
  EXPECT_THAT(finding.fix, HasSubstr("tune2fs -O quota /dev/sda1"));
  EXPECT_THAT(judge_quota(mounted("xfs", "rw"), {false, {}}, 1, "/d").fix, HasSubstr("uquota"));
  EXPECT_EQ(judge_quota(ext4, {std::nullopt, {}}, 1, "/d").level, Level::note);
  EXPECT_EQ(whole(judge_quota(ext4, {false, {}}, 1, "")).level, Level::ok);
  EXPECT_EQ(whole(judge_quota(ext4, {true, {}}, 1, "/d")).level, Level::ok);
}

TEST(Quota, OnesOwnMayBeTooSmall) {
  const Mount ext4 = mounted("ext4", "rw");
  EXPECT_EQ(whole(judge_quota(ext4, {true, 999}, 1000, "")).level, Level::problem);
  EXPECT_EQ(whole(judge_quota(ext4, {true, 1000}, 1000, "")).level, Level::ok);
}

DirectoryFacts directory(bool is_log, mode_t mode) {
  DirectoryFacts facts;
  facts.path = "/srv/x";
  facts.is_log = is_log;
  facts.searchable = facts.writable = true;
  facts.mode = S_IFDIR | mode;
  return facts;
}

TEST(Directory, WhoMayWrite) {
  EXPECT_EQ(whole(judge_directory(directory(true, 02750))).level, Level::ok);
  EXPECT_EQ(whole(judge_directory(directory(true, 02770))).level, Level::warning);
  EXPECT_THAT(judge_directory(directory(true, 02770)).found, HasSubstr("its group"));
  EXPECT_EQ(whole(judge_directory(directory(true, 01777))).level, Level::warning);
  EXPECT_EQ(whole(judge_directory(directory(false, 01777))).level, Level::ok);
  EXPECT_EQ(whole(judge_directory(directory(false, 0777))).level, Level::warning);
  EXPECT_EQ(text_value(judge_directory(directory(false, 01777)), "mode"), "1777");
}

TEST(Directory, NotWritableForUs) {
  DirectoryFacts facts = directory(false, 0755);
  facts.writable = false;
  EXPECT_EQ(whole(judge_directory(facts)).level, Level::warning);
  EXPECT_THAT(judge_directory(facts).fix, HasSubstr("sudo -u 'root' tailrace doctor /srv/x"));
  facts.read_only = true;  // mount_options says it
  EXPECT_EQ(whole(judge_directory(facts)).level, Level::ok);
  facts = directory(true, 02750);
  facts.writable = false;
  EXPECT_EQ(whole(judge_directory(facts)).level, Level::note);
}

TEST(ShellWord, IsQuotedOnlyWhereItMustBe) {
  EXPECT_EQ(shell_quoted("/srv/my-log.1"), "/srv/my-log.1");
  EXPECT_EQ(shell_quoted("/srv/my log"), "'/srv/my log'");
  EXPECT_EQ(shell_quoted("it's"), "'it'\\''s'");
  EXPECT_EQ(shell_quoted("$(x)"), "'$(x)'");
}

}  // namespace
}  // namespace tailrace::doctor
