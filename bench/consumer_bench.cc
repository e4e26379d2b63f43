// What an acknowledgement costs: a consumer's commit beside two uncontended cache lines stored with
// checksums of their own, which is the least that two slots of a line each could cost.

#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "common/scratch.h"
#include "tailrace/consumer.h"
#include "tailrace/writer.h"

namespace {

using namespace tailrace;

constexpr std::size_t kLine = 64;
constexpr std::uint64_t kRecords = 1 << 16;

/// Two lines in turn, each a counter, some words, and their CRC32C.
void two_lines(benchmark::State& state) {
  alignas(4096) static std::byte lines[2][4096];
  std::uint64_t count = 0;
  for (auto _ : state) {
    for (auto& line : lines) {
      std::uint64_t words[kLine / 8] = {++count, count + 1, count + 2, count + 3, count + 4};
      words[7] = crc_finish(crc_bytes(kCrcStart, words, kLine - 8));
      for (std::size_t i = 0; i < kLine / 8; ++i) {
        shared<std::uint64_t>(line + 8 * i).store(words[i], std::memory_order_release);
      }
    }
  }
}

/// A log of small records and a consumer of it, whose stamps have all been taken.
struct Work {
  std::vector<Stamp> stamps;
  std::optional<Consumer> consumer;

  explicit Work(const std::filesystem::path& log) {
    const auto fail = [](const Error& error) {
      std::fprintf(stderr, "%s\n", error.message().c_str());
      std::exit(1);
    };
    if (auto done = create_log(log); !done) fail(done.error());
    auto writer = Writer::open(log);
    if (!writer) fail(writer.error());
    for (std::uint64_t i = 0; i < kRecords; ++i) {
      if (auto done = writer->append(as_bytes("a record of an ordinary size, more or less"));
          !done) {
        fail(done.error());
      }
    }
    if (auto done = writer->close(); !done) fail(done.error());
    ConsumerOptions options;
    options.create.emplace();
    auto opened = Consumer::open(log, "bench", options);
    if (!opened) fail(opened.error());
    consumer.emplace(std::move(*opened));
    stamps.reserve(kRecords);
    RecordView record;
    while (consumer->next(record) == Delivery::record) stamps.push_back(consumer->stamp());
  }
};

std::filesystem::path folder;

void commit(benchmark::State& state) {
  static int logs = 0;
  Work work(folder / std::to_string(++logs));
  std::size_t next = 0;
  for (auto _ : state) {
    if (next == work.stamps.size()) {
      state.PauseTiming();
      if (!work.consumer->reset({})) std::abort();
      RecordView record;
      while (work.consumer->next(record) == Delivery::record) {
      }
      next = 0;
      state.ResumeTiming();
    }
    benchmark::DoNotOptimize(work.consumer->commit(work.stamps[next++]));
  }
}

BENCHMARK(two_lines);
BENCHMARK(commit);

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  return tailrace::bench::with_scratch({}, [](const std::filesystem::path& scratch) {
    folder = scratch;
    benchmark::RunSpecifiedBenchmarks();
    return 0;
  });
}
