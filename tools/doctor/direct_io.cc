#include "doctor/direct_io.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <vector>

#include "doctor/scratch_file.h"

namespace tailrace::doctor {
namespace {

constexpr std::size_t kBlockBytes = 4096;  // the journal's
constexpr int kWrites = 9;

void ask_alignment(int fd, DirectIoFacts& facts) {
#ifdef STATX_DIOALIGN
  struct statx status {};
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) != 0) return;
  if ((status.stx_mask & STATX_DIOALIGN) == 0) return;
  facts.memory_align_bytes = status.stx_dio_mem_align;
  facts.offset_align_bytes = status.stx_dio_offset_align;
#endif
}

/// As the journal does it: into blocks that were written before, so that only the first pass
/// changes anything but data.
void try_writes(int fd, DirectIoFacts& facts) {
  const std::unique_ptr<void, decltype(&std::free)> block(
      std::aligned_alloc(kBlockBytes, kBlockBytes), &std::free);
  if (block == nullptr) {
    facts.write_error = ENOMEM;
    return;
  }
  std::fill_n(static_cast<char*>(block.get()), kBlockBytes, 'd');
  const iovec piece{block.get(), kBlockBytes};
  std::vector<std::uint64_t> durations_ns;
  for (int i = 0; i <= kWrites; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    const auto written = ::pwritev2(fd, &piece, 1, 0, RWF_DSYNC);
    const std::chrono::nanoseconds duration = std::chrono::steady_clock::now() - begin;
    if (written != static_cast<ssize_t>(kBlockBytes)) {
      facts.write_error = written < 0 ? errno : EIO;
      return;
    }
    if (i != 0) durations_ns.push_back(static_cast<std::uint64_t>(duration.count()));
  }
  std::sort(durations_ns.begin(), durations_ns.end());
  facts.write_ns = durations_ns[durations_ns.size() / 2];
}

std::string alignment(const DirectIoFacts& facts) {
  if (!facts.offset_align_bytes) return "statx does not say the alignment";
  return fmt::format("alignment {} bytes in the file, {} in memory", *facts.offset_align_bytes,
                     facts.memory_align_bytes.value_or(0));
}

}  // namespace

DirectIoFacts probe_direct_io(int directory) {
  DirectIoFacts facts;
  {
    const ScratchFile plain = make_scratch_file(directory);
    facts.file_error = plain.error;
    if (!plain.fd) return facts;
    ask_alignment(plain.fd.get(), facts);
  }
  const ScratchFile direct = make_scratch_file(directory, O_DIRECT);
  facts.open_error = direct.error;
  if (direct.fd) try_writes(direct.fd.get(), facts);
  return facts;
}

Finding judge_direct_io(const DirectIoFacts& facts, const std::string& place) {
  if (facts.file_error != 0) {
    return unknown("direct_io",
                   fmt::format("no file can be made in {} ({})", place, describe(facts.file_error)),
                   "run tailrace doctor as the user who is to write there");
  }
  Finding finding{"direct_io", Level::ok, {}, {}};
  const bool works = facts.open_error == 0 && facts.write_error == 0;
  finding.values.emplace_back("works", works);
  if (facts.offset_align_bytes) {
    finding.values.emplace_back("direct_io_offset_align_bytes", *facts.offset_align_bytes);
    finding.values.emplace_back("direct_io_memory_align_bytes",
                                facts.memory_align_bytes.value_or(0));
  }
  if (facts.write_ns != 0) finding.values.emplace_back("durable_write_ns", facts.write_ns);
  const std::string fix = "put the log on a local ext4 (not data=journal) or XFS file system";
  if (!works) {
    const int error = facts.open_error != 0 ? facts.open_error : facts.write_error;
    finding.level = Level::warning;
    finding.found = fmt::format(
        "O_DIRECT does not work in {} ({}, {}); commits write through the page cache and call "
        "fdatasync, which is slower",
        place, describe(error), alignment(facts));
    finding.fix = fix;
    return finding;
  }
  const std::string time =
      fmt::format("a durable write of 4 KiB takes {} us", (facts.write_ns + 500) / 1000);
  if (facts.offset_align_bytes == 0) {
    finding.level = Level::warning;
    finding.found =
        fmt::format("{} takes O_DIRECT, but goes through the page cache; {}", place, time);
    finding.fix = fix;
    return finding;
  }
  finding.found = fmt::format("O_DIRECT works in {}; {}; {}", place, alignment(facts), time);
  if (facts.offset_align_bytes.value_or(0) > kBlockBytes) {
    finding.level = Level::note;
    finding.found += "; each commit of the journal takes at least that much";
    finding.fix = "a disk with logical blocks of 512 or 4096 bytes makes small commits cheaper";
  }
  return finding;
}

}  // namespace tailrace::doctor
