// CRC32C, a chain of single instructions against ISA-L's folding, size by size: where the second
// wins is kLongCrcBytes.

#include <benchmark/benchmark.h>

#include <vector>

#include "base/crc32c.h"

namespace {

using namespace tailrace;

std::vector<std::byte> bytes_of(const benchmark::State& state) {
  return std::vector<std::byte>(static_cast<std::size_t>(state.range(0)), std::byte{7});
}

/// What crc_bytes does below kLongCrcBytes, at any size.
void chain(benchmark::State& state) {
  const std::vector<std::byte> bytes = bytes_of(state);
  std::uint32_t crc = kCrcStart;
  for (auto _ : state) {
    std::uint64_t wide = crc;
    for (std::size_t i = 0; i + 8 <= bytes.size(); i += 8) {
      wide = arch::crc_u64(wide, load<std::uint64_t>(bytes.data() + i));
    }
    crc = static_cast<std::uint32_t>(wide);
    benchmark::DoNotOptimize(crc);
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

void isal(benchmark::State& state) {
  const std::vector<std::byte> bytes = bytes_of(state);
  std::uint32_t crc = kCrcStart;
  for (auto _ : state) {
    crc = crc_long(crc, bytes.data(), bytes.size());
    benchmark::DoNotOptimize(crc);
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

void copy_and_sum(benchmark::State& state) {
  const std::vector<std::byte> from = bytes_of(state);
  std::vector<std::byte> to(from.size());
  std::uint32_t crc = kCrcStart;
  for (auto _ : state) {
    crc = crc_copy(crc, to.data(), from.data(), from.size());
    benchmark::DoNotOptimize(crc);
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

BENCHMARK(chain)->RangeMultiplier(2)->Range(32, 16384);
BENCHMARK(isal)->RangeMultiplier(2)->Range(32, 16384);
BENCHMARK(copy_and_sum)->RangeMultiplier(2)->Range(32, 16384);

}  // namespace

BENCHMARK_MAIN();
