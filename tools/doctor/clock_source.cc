#include "doctor/clock_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>

#include "doctor/text_file.h"

namespace tailrace::doctor {
namespace {

constexpr const char* kFolder = "/sys/devices/system/clocksource/clocksource0/";
constexpr std::uint64_t kSlowReadNs = 250;  // through the vDSO it takes 20 to 60

bool has_word(std::string_view text, std::string_view word) {
  const std::string padded = fmt::format(" {} ", text);
  return padded.find(fmt::format(" {} ", word)) != std::string::npos;
}

std::int64_t monotonic_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

/// The best of several tries, so that an interrupt does not count.
std::uint64_t measure_read_ns() {
  constexpr int kReads = 100;
  std::int64_t best = INT64_MAX;
  for (int i = 0; i < 20; ++i) {
    const std::int64_t begin = monotonic_ns();
    std::int64_t end = begin;
    for (int read = 0; read < kReads; ++read) end = monotonic_ns();
    best = std::min(best, (end - begin) / kReads);
  }
  return static_cast<std::uint64_t>(std::max<std::int64_t>(best, 1));
}

}  // namespace

std::optional<bool> parse_invariant_tsc(std::string_view cpuinfo) {
  const std::size_t at = cpuinfo.find("\nflags\t");
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view line = cpuinfo.substr(at + 1, cpuinfo.find('\n', at + 1) - at - 1);
  return has_word(line, "constant_tsc") && has_word(line, "nonstop_tsc");
}

ClockFacts probe_clock() {
  ClockFacts facts;
  facts.current = read_text(std::string(kFolder) + "current_clocksource");
  facts.available = read_text(std::string(kFolder) + "available_clocksource");
  if (const auto cpuinfo = read_text("/proc/cpuinfo")) {
    facts.invariant_tsc = parse_invariant_tsc(*cpuinfo);
  }
  facts.read_ns = measure_read_ns();
  return facts;
}

Finding judge_clock(const ClockFacts& facts) {
  Finding finding{"clock_source", Level::ok, {}, {}, {{"clock_read_ns", facts.read_ns}}};
  finding.found =
      fmt::format("{}; reading it takes {} ns", facts.current.value_or("unknown"), facts.read_ns);
  if (facts.current) finding.values.emplace_back("current", *facts.current);
  if (facts.invariant_tsc) finding.values.emplace_back("invariant_tsc", *facts.invariant_tsc);
  const bool tsc_offered = facts.available && has_word(*facts.available, "tsc");
  if (facts.invariant_tsc == true && facts.available && !tsc_offered) {
    finding.level = Level::warning;
    finding.found +=
        "; the CPU calls its cycle counter steady, and the kernel found that it is not: timestamps "
        "of records, which are taken from it, may drift or jump";
    finding.fix =
        "dmesg | grep -i tsc says why; update the firmware; if the kernel erred: boot with "
        "tsc=reliable";
  } else if (facts.read_ns >= kSlowReadNs) {
    finding.level = facts.invariant_tsc == true ? Level::note : Level::warning;
    finding.found += ", so it is a system call";
    finding.fix = tsc_offered ? fmt::format(
                                    "echo tsc > {}current_clocksource (to stay: boot with "
                                    "clocksource=tsc)",
                                    kFolder)
                              : "let the hypervisor offer kvm-clock, hyperv_clocksource or an "
                                "invariant TSC to this machine";
  } else if (facts.invariant_tsc == false) {
    finding.level = Level::note;
    finding.found += "; no invariant cycle counter, so each record is stamped by clock_gettime";
    finding.fix = "in a virtual machine: pass the CPU's invtsc flag through (-cpu host,+invtsc)";
  }
  return finding;
}

}  // namespace tailrace::doctor
