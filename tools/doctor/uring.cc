#include "doctor/uring.h"

#include <fmt/format.h>
#include <liburing.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <cerrno>
#include <charconv>
#include <string>

#include "doctor/descriptor.h"
#include "doctor/text_file.h"

namespace tailrace::doctor {
namespace {

constexpr const char* kNewKernel = "boot Linux 5.11 or later, built with CONFIG_IO_URING=y";

/// The value of "Name:\tvalue" in /proc/self/status.
std::optional<std::uint64_t> status_value(std::string_view name, int base) {
  const std::string text = "\n" + read_text("/proc/self/status").value_or("");
  const std::string start = fmt::format("\n{}:\t", name);
  const std::size_t at = text.find(start);
  if (at == std::string::npos) return std::nullopt;
  std::uint64_t value = 0;
  const char* const begin = text.data() + at + start.size();
  const auto [end, error] = std::from_chars(begin, text.data() + text.size(), value, base);
  if (error != std::errc() || end == begin) return std::nullopt;
  return value;
}

/// 0, or the errno of registering a buffer as large as the journal's.
int try_to_register(io_uring& ring) {
  void* const memory =
      ::mmap(nullptr, kRegisteredBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return errno;
  const iovec buffer{memory, kRegisteredBytes};
  const int answer = ::io_uring_register_buffers(&ring, &buffer, 1);
  if (answer == 0) ::io_uring_unregister_buffers(&ring);
  ::munmap(memory, kRegisteredBytes);
  return -answer;
}

std::string why_refused(const UringFacts& facts) {
  if (facts.too_old) return "this kernel's is too old";
  switch (facts.setup_error) {
    case ENOSYS:
      return facts.seccomp == true ? "not there, or hidden by a system call filter (ENOSYS)"
                                   : "this kernel has none (ENOSYS)";
    case EPERM: return "not permitted (EPERM)";
    case ENOMEM: return "no memory for it within RLIMIT_MEMLOCK (ENOMEM)";
    default: return fmt::format("refused ({})", describe(facts.setup_error));
  }
}

std::string how_to_allow(const UringFacts& facts) {
  if (facts.too_old) return kNewKernel;
  if (facts.setup_error == ENOMEM) return "ulimit -l 65536, or LimitMEMLOCK=64M in the unit file";
  if (facts.disabled.value_or(0) != 0) {
    return "sysctl -w kernel.io_uring_disabled=0 (to stay: in /etc/sysctl.d/)";
  }
  if (facts.seccomp == true) {
    return "allow io_uring_setup, io_uring_enter and io_uring_register in the container's seccomp "
           "profile: docker run --security-opt seccomp=PROFILE.json; under systemd: "
           "SystemCallFilter=@io-event";
  }
  if (facts.setup_error == ENOSYS) {
    return kNewKernel;
  }
  return "let the security module (SELinux, AppArmor) of this host allow io_uring";
}

}  // namespace

UringFacts probe_uring() {
  UringFacts facts;
  io_uring ring{};
  io_uring_params params{};
  facts.setup_error = -::io_uring_queue_init_params(8, &ring, &params);
  if (facts.setup_error == 0) {
    constexpr unsigned kNeeded = IORING_FEAT_EXT_ARG | IORING_FEAT_NODROP;  // as the engine
    facts.too_old = (params.features & kNeeded) != kNeeded;
    facts.register_error = try_to_register(ring);
    ::io_uring_queue_exit(&ring);
  }
  if (const auto text = read_text("/proc/sys/kernel/io_uring_disabled")) {
    unsigned disabled = 0;
    if (std::from_chars(text->data(), text->data() + text->size(), disabled).ec == std::errc()) {
      facts.disabled = disabled;
    }
  }
  if (const auto mode = status_value("Seccomp", 10)) facts.seccomp = *mode != 0;
  return facts;
}

Finding judge_uring(const UringFacts& facts) {
  const bool usable = facts.setup_error == 0 && !facts.too_old;
  Finding finding{"io_uring", Level::ok, "allowed", {}, {{"allowed", usable}}};
  if (facts.disabled)
    finding.values.emplace_back("io_uring_disabled", std::uint64_t{*facts.disabled});
  if (usable) return finding;
  finding.level = Level::warning;
  finding.found = why_refused(facts) + "; commits go through a thread, which is slower";
  if (facts.disabled.value_or(0) != 0) {
    finding.found += fmt::format("; /proc/sys/kernel/io_uring_disabled is {}", *facts.disabled);
  }
  finding.fix = how_to_allow(facts);
  return finding;
}

MemlockFacts probe_memlock(const UringFacts& uring) {
  MemlockFacts facts;
  facts.register_error = uring.register_error;
  rlimit limit{};
  if (::getrlimit(RLIMIT_MEMLOCK, &limit) == 0) {
    if (limit.rlim_cur != RLIM_INFINITY) facts.limit_bytes = limit.rlim_cur;
    if (limit.rlim_max != RLIM_INFINITY) facts.hard_bytes = limit.rlim_max;
  }
  constexpr unsigned kCapIpcLock = 14;
  facts.exempt = ((status_value("CapEff", 16).value_or(0) >> kCapIpcLock) & 1) != 0;
  return facts;
}

Finding judge_memlock(const MemlockFacts& facts) {
  Finding finding{"memlock", Level::ok, {}, {}, {{"exempt", facts.exempt}}};
  if (facts.limit_bytes) finding.values.emplace_back("limit_bytes", *facts.limit_bytes);
  const std::string limit =
      facts.limit_bytes ? fmt::format("{} bytes", *facts.limit_bytes) : std::string("unlimited");
  finding.found = fmt::format("RLIMIT_MEMLOCK is {}{}", limit,
                              facts.exempt ? ", which does not bind this process" : "");
  const bool low = facts.limit_bytes && *facts.limit_bytes < kRegisteredBytes && !facts.exempt;
  if (!low && facts.register_error == 0) return finding;
  finding.level = Level::note;
  finding.found += fmt::format(
      "; the journal's buffers ({} bytes) cannot be registered, so each commit costs a little more",
      kRegisteredBytes);
  if (facts.register_error != 0)
    finding.found += fmt::format(" ({})", describe(facts.register_error));
  finding.fix =
      "ulimit -l 65536; to stay: LimitMEMLOCK=64M in the unit file, '* - memlock 65536' in "
      "/etc/security/limits.conf, or docker run --ulimit memlock=67108864";
  return finding;
}

}  // namespace tailrace::doctor
