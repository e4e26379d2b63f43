#include "common/works.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/arch.h"
#include "common/limits.h"
#include "common/process.h"

namespace tailrace::bench {
namespace {

constexpr std::chrono::seconds kPatience{30};

[[noreturn]] void give_up(const Error& error) {
  std::fprintf(stderr, "bench: %s\n", error.message().c_str());
  std::_Exit(1);
}

template <class T>
T need(Result<T> result) {
  if (!result) give_up(result.error());
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

std::size_t resident_pages(const std::filesystem::path& file, std::size_t bytes) {
  const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  void* at = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, 0);
  close(fd);
  if (at == MAP_FAILED) return 0;
  std::vector<unsigned char> pages((bytes + 4095) / 4096);
  std::size_t resident = 0;
  if (mincore(at, bytes, pages.data()) == 0) {
    for (const unsigned char page : pages) resident += page & 1U;
  }
  munmap(at, bytes);
  return resident;
}

/// Room for `records` and a little more, in one segment.
std::uint64_t segment_size_for(std::size_t payload_bytes, std::uint64_t records) {
  const std::uint64_t span = (32 + payload_bytes + 31) & ~std::uint64_t{31};
  return std::bit_ceil((records + (records / kPiece + 2) * kBatch) * span + 8192);
}

/// The same directory for each run, gone when the run is over.
class RunDirectory {
 public:
  explicit RunDirectory(const std::filesystem::path& scratch) : path_(scratch / "run") {
    std::filesystem::create_directories(path_);
  }
  ~RunDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  RunDirectory(const RunDirectory&) = delete;
  RunDirectory& operator=(const RunDirectory&) = delete;
  [[nodiscard]] ReadyLog log(const char* name, std::uint64_t segment_size_bytes) const {
    return {.path = path_ / name,
            .segment_size_bytes = std::max(segment_size_bytes, kMinSegmentSizeBytes)};
  }

 private:
  std::filesystem::path path_;
};

std::vector<std::byte> some_payload(std::size_t bytes) {
  std::vector<std::byte> out(bytes);
  for (std::size_t i = 0; i < bytes; ++i) out[i] = static_cast<std::byte>(i * 7);
  return out;
}

/// Appends `records` records, or a few more to fill the last batch.
bool append_all(Writer& writer, std::size_t payload_bytes, std::uint64_t records,
                std::size_t batch) {
  const std::vector<std::byte> payload = some_payload(payload_bytes);
  if (batch <= 1) {
    for (std::uint64_t i = 0; i < records; ++i) {
      if (!writer.append(payload, 1)) [[unlikely]]
        return false;
    }
    return true;
  }
  std::vector<RecordInput> inputs(batch);
  for (RecordInput& input : inputs) input = {.payload = payload, .type = 1};
  for (std::uint64_t i = 0; i < records; i += batch) {
    if (!writer.append_batch(inputs)) [[unlikely]]
      return false;
  }
  return true;
}

struct Run {
  StartLine start;
  alignas(128) double ns = 0;  ///< per record
};

}  // namespace

void make_log(const ReadyLog& log) {
  need(create_log(log.path, {.segment_size_bytes = log.segment_size_bytes}));
}

/// The writer's threads populate pages in the background; this waits for it.
void wait_populated(const ReadyLog& log) {
  const std::size_t wanted = log.segment_size_bytes / 4096;
  for (const std::uint64_t first : {std::uint64_t{0}, log.segment_size_bytes}) {
    const auto file = log.path / "segments" / fmt::format("{:020}.seg", first);
    std::size_t before = 0;
    for (int idle = 0; idle < 30;) {
      const std::size_t now = resident_pages(file, log.segment_size_bytes);
      if (now >= wanted) break;
      idle = now > before ? 0 : idle + 1;
      before = now;
      usleep(10'000);
    }
  }
}

Writer open_writer(const ReadyLog& log) {
  Writer writer = need(Writer::open(
      log.path, {.sync = SyncPolicy::none,
                 .populate_ahead_bytes = static_cast<std::size_t>(log.segment_size_bytes)}));
  wait_populated(log);
  return writer;
}

Reader open_reader(const ReadyLog& log, const ReaderOptions& options) {
  return need(Reader::open(log.path, options));
}

double append_ns(const std::filesystem::path& scratch, std::size_t payload_bytes,
                 std::uint64_t records, std::size_t batch) {
  const RunDirectory directory(scratch);
  const ReadyLog log = directory.log("log", segment_size_for(payload_bytes, records));
  Shared<Run> run;
  const bool good = run_processes({[&] {
    make_log(log);
    Writer writer = open_writer(log);
    pin(1);
    run->ns = median_piece_ns(records, monotonic_ns, [&](std::uint64_t n) {
      return append_all(writer, payload_bytes, n, batch);
    });
    return run->ns != 0;
  }});
  return good ? run->ns : 0;
}

double replay_ns(const std::filesystem::path& scratch, std::size_t payload_bytes,
                 std::uint64_t records, bool check_crc) {
  const RunDirectory directory(scratch);
  const ReadyLog log = directory.log("log", segment_size_for(payload_bytes, records));
  Shared<Run> run;
  const bool written = run_processes({[&] {
    make_log(log);
    Writer writer = open_writer(log);
    return append_all(writer, payload_bytes, records, 1) && writer.close().has_value();
  }});
  const bool good = written && run_processes({[&] {
                      Reader reader = open_reader(log, {.check_crc = check_crc});
                      pin(1);
                      RecordView record;
                      run->ns = median_piece_ns(records, monotonic_ns, [&](std::uint64_t n) {
                        for (; n > 0; --n) {
                          if (reader.next(record) != Outcome::record) return false;
                        }
                        return true;
                      });
                      return run->ns != 0 && reader.next(record) == Outcome::end;
                    }});
  return good ? run->ns : 0;
}

double stream_ns(const std::filesystem::path& scratch, std::size_t payload_bytes,
                 std::uint64_t records, std::size_t batch, Wait wait) {
  const RunDirectory directory(scratch);
  const ReadyLog log = directory.log("log", segment_size_for(payload_bytes, records));
  make_log(log);
  Shared<Run> run;
  const bool good = run_processes({[&] {
                                     Writer writer = open_writer(log);
                                     pin(0);
                                     run->start.wait(2);
                                     return append_all(writer, payload_bytes, records, batch);
                                   },
                                   [&] {
                                     Reader reader = open_reader(log, {.wait = wait});
                                     pin(1);
                                     RecordView record;
                                     run->start.wait(2);
                                     const std::int64_t start = monotonic_ns();
                                     for (std::uint64_t i = 0; i < records; ++i) {
                                       if (reader.next(record, kPatience) != Outcome::record) {
                                         return false;
                                       }
                                     }
                                     run->ns = static_cast<double>(monotonic_ns() - start) /
                                               static_cast<double>(records);
                                     return true;
                                   }});
  return good ? run->ns : 0;
}

RoundTrip round_trip(const std::filesystem::path& scratch, std::uint64_t rounds, bool each) {
  const RunDirectory directory(scratch);
  const ReadyLog there = directory.log("there", segment_size_for(64, rounds));
  const ReadyLog back = directory.log("back", segment_size_for(64, rounds));
  make_log(there);
  make_log(back);
  struct Result {
    Run run;
    Percentiles ns;
  };
  Shared<Result> result;
  const auto one_side = [&](const ReadyLog& out, const ReadyLog& in, int core, auto play) {
    Writer writer = open_writer(out);
    Reader reader = open_reader(in, {.wait = Wait::spin});
    pin(core);
    result->run.start.wait(2);
    return play(writer, reader);
  };
  const auto first = [&](Writer& writer, Reader& reader) {
    std::array<std::byte, 64> ball{};
    std::vector<std::uint32_t> samples(each ? rounds : 0);
    RecordView record;
    std::uint64_t last = arch::ticks();
    const std::uint64_t first_tick = last;
    const std::int64_t start = monotonic_ns();
    for (std::uint64_t i = 0; i < rounds; ++i) {
      if (!writer.append(ball, 1)) return false;
      if (reader.next(record, kPatience) != Outcome::record) return false;
      if (each) {
        const std::uint64_t now = arch::ticks();
        samples[i] = static_cast<std::uint32_t>(now - last);
        last = now;
      }
    }
    const auto elapsed_ns = static_cast<double>(monotonic_ns() - start);
    result->run.ns = elapsed_ns / static_cast<double>(rounds);
    const auto ticks = static_cast<double>(arch::ticks() - first_tick);
    result->ns = percentiles(samples, elapsed_ns / ticks);
    return true;
  };
  const auto second = [&](Writer& writer, Reader& reader) {
    RecordView record;
    for (std::uint64_t i = 0; i < rounds; ++i) {
      if (reader.next(record, kPatience) != Outcome::record) return false;
      if (!writer.append(record.payload, 1)) return false;
    }
    return true;
  };
  const bool good = run_processes({[&] { return one_side(there, back, 0, first); },
                                   [&] { return one_side(back, there, 1, second); }});
  if (!good) return {};
  return {.mean_ns = result->run.ns, .ns = result->ns};
}

}  // namespace tailrace::bench
