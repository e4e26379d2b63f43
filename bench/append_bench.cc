// Appending through the public Writer, size by size. What follows a roll is measured too: a log of
// 64 MiB segments that is begun anew when it has grown.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "common/limits.h"
#include "common/scratch.h"
#include "common/works.h"

namespace {

using namespace tailrace;

constexpr std::uint64_t kLargestLogBytes = std::uint64_t{1} << 30;

std::filesystem::path scratch;

/// A log that never fills the disk.
class GrowingLog {
 public:
  GrowingLog() { begin(); }
  ~GrowingLog() { end(); }
  GrowingLog(const GrowingLog&) = delete;
  GrowingLog& operator=(const GrowingLog&) = delete;

  Writer& writer() { return *writer_; }
  void keep_small(benchmark::State& state) {
    if (writer_->committed() < kLargestLogBytes) return;
    state.PauseTiming();
    end();
    begin();
    state.ResumeTiming();
  }

 private:
  void begin() {
    bench::make_log(log_);
    writer_.emplace(bench::open_writer(log_));
  }
  void end() {
    writer_.reset();
    std::filesystem::remove_all(log_.path);
  }

  bench::ReadyLog log_{.path = scratch / "append"};
  std::optional<Writer> writer_;
};

std::vector<std::byte> payload_of(const benchmark::State& state) {
  return std::vector<std::byte>(static_cast<std::size_t>(state.range(0)), std::byte{7});
}

void count(benchmark::State& state, std::int64_t records_per_iteration) {
  state.SetItemsProcessed(state.iterations() * records_per_iteration);
  state.SetBytesProcessed(state.iterations() * records_per_iteration * state.range(0));
}

void append(benchmark::State& state) {
  GrowingLog log;
  const std::vector<std::byte> payload = payload_of(state);
  for (auto _ : state) {
    if (!log.writer().append(payload, 1)) return state.SkipWithError("append failed");
    log.keep_small(state);
  }
  count(state, 1);
}

void append_with_keys(benchmark::State& state) {
  GrowingLog log;
  const std::vector<std::byte> payload = payload_of(state);
  const std::vector<std::string_view> keys = {"airport:LAX", "carrier:AA"};
  const RecordInput record{.payload = payload,
                           .type = 1,
                           .keys = std::span(keys).first(static_cast<std::size_t>(state.range(1)))};
  for (auto _ : state) {
    if (!log.writer().append(record)) return state.SkipWithError("append failed");
    log.keep_small(state);
  }
  count(state, 1);
}

/// Each a new one: the index grows with the log.
void append_with_event_id(benchmark::State& state) {
  GrowingLog log;
  const std::vector<std::byte> payload = payload_of(state);
  const RecordInput record{.payload = payload, .type = 1};
  std::uint64_t number = 0;
  EventId id;
  for (auto _ : state) {
    ++number;
    std::memcpy(id.bytes.data(), &number, sizeof number);
    if (!log.writer().append_if({{&record, 1}, {}, id})) {
      return state.SkipWithError("append failed");
    }
    log.keep_small(state);
  }
  count(state, 1);
}

void append_batch(benchmark::State& state) {
  GrowingLog log;
  const std::vector<std::byte> payload = payload_of(state);
  const std::vector<RecordInput> records(bench::kBatch, RecordInput{.payload = payload, .type = 1});
  for (auto _ : state) {
    if (!log.writer().append_batch(records)) return state.SkipWithError("append failed");
    log.keep_small(state);
  }
  count(state, bench::kBatch);
}

void claim_and_commit(benchmark::State& state) {
  GrowingLog log;
  RecordInput header;
  header.type = 1;
  for (auto _ : state) {
    auto claim = log.writer().claim(static_cast<std::size_t>(state.range(0)), header);
    if (!claim) return state.SkipWithError("claim failed");
    std::ranges::fill(claim->payload(), std::byte{7});
    if (!claim->commit()) return state.SkipWithError("commit failed");
    log.keep_small(state);
  }
  count(state, 1);
}

BENCHMARK(append)->Arg(0)->Arg(16)->Arg(64)->Arg(256)->Arg(1024)->Arg(16384);
BENCHMARK(append_batch)->Arg(0)->Arg(64)->Arg(1024);
BENCHMARK(append_with_keys)->ArgsProduct({{64}, {1, 2}});
BENCHMARK(append_with_event_id)->Arg(64)->Arg(1024);
BENCHMARK(claim_and_commit)->Arg(64)->Arg(1024);

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
