// Reading a log from its start, with and without checking the checksums, and finding places in it.

#include <benchmark/benchmark.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "common/scratch.h"
#include "common/works.h"

namespace {

using namespace tailrace;

constexpr std::uint64_t kRecords = 200'000;

std::filesystem::path scratch;

/// A log of kRecords records of one size, written once for all that read it.
class WrittenLog {
 public:
  explicit WrittenLog(std::size_t payload_bytes)
      : log_{.path = scratch / std::to_string(payload_bytes)} {
    if (std::filesystem::exists(log_.path)) return;
    bench::make_log(log_);
    Writer writer = bench::open_writer(log_);
    const std::vector<std::byte> payload(payload_bytes, std::byte{7});
    for (std::uint64_t i = 0; i < kRecords; ++i) {
      if (!writer.append(payload, 1)) std::abort();
    }
  }
  [[nodiscard]] const bench::ReadyLog& log() const { return log_; }

 private:
  bench::ReadyLog log_;
};

void replay(benchmark::State& state) {
  const WrittenLog written(static_cast<std::size_t>(state.range(0)));
  Reader reader = bench::open_reader(written.log(), {.check_crc = state.range(1) != 0});
  RecordView record;
  for (auto _ : state) {
    if (reader.next(record) == Outcome::record) [[likely]] {
      benchmark::DoNotOptimize(record.payload.data());
      continue;
    }
    state.PauseTiming();
    if (!reader.seek_start()) return state.SkipWithError("seek failed");
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations());
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

void seek_sequence(benchmark::State& state) {
  const WrittenLog written(1024);
  Reader reader = bench::open_reader(written.log(), {});
  Sequence wanted = 1;
  for (auto _ : state) {
    if (!reader.seek_sequence(wanted)) return state.SkipWithError("seek failed");
    wanted = (wanted + 77'777) % kRecords + 1;
  }
}

BENCHMARK(replay)->ArgsProduct({{64, 1024}, {1, 0}})->ArgNames({"bytes", "crc"});
BENCHMARK(seek_sequence);

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  return tailrace::bench::with_scratch({}, [](const std::filesystem::path& directory) {
    scratch = directory;
    benchmark::RunSpecifiedBenchmarks();
    return 0;
  });
}
