// The works of works.h that are about staying small and staying even over many segments.

#include <algorithm>
#include <array>
#include <fstream>
#include <set>
#include <string>

#include "base/arch.h"
#include "common/process.h"
#include "common/works.h"

namespace tailrace::bench {
namespace {

constexpr std::chrono::seconds kPatience{30};
constexpr std::uint64_t kSmallSegment = std::uint64_t{4} << 20;

}  // namespace

void sample(Footprint& out, bool first_half) {
  std::ifstream status("/proc/self/status");
  std::string line;
  std::uint64_t anonymous = 0;
  while (std::getline(status, line)) {
    const auto kib = [&line] { return std::stoull(line.substr(line.find(':') + 1)) * 1024; };
    if (line.starts_with("RssAnon:") || line.starts_with("RssShmem:")) anonymous += kib();
    if (line.starts_with("RssFile:"))
      out.file_bytes = std::max(out.file_bytes, std::uint64_t{kib()});
  }
  out.anonymous_bytes = std::max(out.anonymous_bytes, anonymous);
  std::ifstream maps("/proc/self/maps");
  std::set<std::string> segments;
  while (std::getline(maps, line)) {
    const std::size_t slash = line.find("/segments/");
    if (slash != std::string::npos) segments.insert(line.substr(slash));
  }
  out.segments_mapped = std::max(out.segments_mapped, std::uint64_t{segments.size()});
  if (first_half) out.segments_mapped_first = out.segments_mapped;
}

EndlessLog endless_log(const std::filesystem::path& scratch, std::uint64_t segments) {
  const ReadyLog log{.path = scratch / "endless", .segment_size_bytes = kSmallSegment};
  make_log(log);
  Shared<EndlessLog> out;
  constexpr std::size_t kPayload = 1024;
  const std::uint64_t records = segments * (kSmallSegment / (kPayload + 32));
  constexpr std::uint64_t kEvery = 1000;  // four samples in a segment
  const bool good = run_processes({[&] {
                                     auto writer = Writer::open(log.path);
                                     if (!writer) return false;
                                     const std::array<std::byte, kPayload> payload{};
                                     for (std::uint64_t i = 0; i < records; ++i) {
                                       if (!writer->append(payload, 1)) return false;
                                       if (i % kEvery == 0) sample(out->writer, i < records / 2);
                                     }
                                     out->segments = writer->committed() / kSmallSegment;
                                     return writer->close().has_value();
                                   },
                                   [&] {
                                     auto reader = Reader::open(log.path);
                                     if (!reader) return false;
                                     RecordView record;
                                     for (std::uint64_t i = 0; i < records; ++i) {
                                       if (reader->next(record, kPatience) != Outcome::record)
                                         return false;
                                       if (i % kEvery == 0) sample(out->reader, i < records / 2);
                                     }
                                     return true;
                                   }});
  std::error_code ignored;
  std::filesystem::remove_all(log.path, ignored);
  return good ? *out : EndlessLog{};
}

RollRun paced_appends(const std::filesystem::path& scratch, std::uint64_t segment_size_bytes,
                      std::uint64_t records, std::int64_t interval_ns) {
  const ReadyLog log{.path = scratch / "rolls", .segment_size_bytes = segment_size_bytes};
  make_log(log);
  Shared<RollRun> out;
  const bool good = run_processes({[&] {
    Writer writer = open_writer(log);
    pin(1);
    const std::array<std::byte, 64> payload{};
    std::vector<std::uint32_t> samples(records);
    std::vector<std::uint32_t> at_rolls;
    const std::int64_t from_ns = monotonic_ns();
    const std::uint64_t from_ticks = arch::ticks();
    while (monotonic_ns() - from_ns < 20'000'000) arch::pause();
    const double ns_per_tick = static_cast<double>(monotonic_ns() - from_ns) /
                               static_cast<double>(arch::ticks() - from_ticks);
    const auto interval =
        static_cast<std::uint64_t>(static_cast<double>(interval_ns) / ns_per_tick);
    std::uint64_t segment = writer.committed() / segment_size_bytes;
    std::uint64_t due = arch::ticks();
    for (std::uint64_t i = 0; i < records; ++i, due += interval) {
      while (arch::ticks() < due) arch::pause();
      const auto appended = writer.append(payload, 1);
      const auto took = static_cast<std::uint32_t>(arch::ticks() - due);
      if (!appended) return false;
      samples[i] = took;
      if (appended->position / segment_size_bytes != segment) {
        segment = appended->position / segment_size_bytes;
        at_rolls.push_back(took);
      }
    }
    out->late = writer.stats().segments_late;
    out->ns = percentiles(samples, ns_per_tick);
    out->at_roll_ns = percentiles(at_rolls, ns_per_tick);
    return true;
  }});
  std::error_code ignored;
  std::filesystem::remove_all(log.path, ignored);
  return good ? *out : RollRun{};
}

}  // namespace tailrace::bench
