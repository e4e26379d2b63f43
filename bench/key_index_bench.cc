// The key index, beside what the machine itself can do: one dependent load from memory of the same
// size, which is the least that a look-up in such a table can cost.

#include <benchmark/benchmark.h>

#include <cstdlib>
#include <string>

#include "keys/key_index.h"

namespace {

using namespace tailrace;

std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}
KeyHash hash_of(std::uint64_t i) { return {mix(2 * i), mix(2 * i + 1)}; }

KeyIndex filled(std::uint64_t keys) {
  auto index = KeyIndex::make(keys);
  if (!index) std::exit(1);
  for (std::uint64_t i = 0; i < keys; ++i) index->add({hash_of(i), 32 * (i + 1), 2});
  return std::move(*index);
}

const auto kAny = [](const KeyEntry&) { return true; };

/// Each key depends on the entry before, as in a program that waits for its answer.
void find_one_after_the_other(benchmark::State& state) {
  const auto keys = static_cast<std::uint64_t>(state.range(0));
  KeyIndex index = filled(keys);
  std::uint64_t at = 0;
  std::uint64_t turn = 0;
  for (auto _ : state) {
    const KeyEntry* const entry = index.find(hash_of(at), kAny);
    at = mix(entry->position + ++turn) % keys;
  }
  benchmark::DoNotOptimize(at);
}

void find_what_is_not_there(benchmark::State& state) {
  const auto keys = static_cast<std::uint64_t>(state.range(0));
  KeyIndex index = filled(keys);
  std::uint64_t at = 0;
  std::uint64_t turn = 0;
  for (auto _ : state) {
    const bool found = index.find(hash_of(keys + at), kAny) != nullptr;
    at = mix(++turn + std::uint64_t{found}) % keys;
  }
  benchmark::DoNotOptimize(at);
}

/// The machine's limit: the same chain of the same arithmetic with one bare load in it.
void bare_load(benchmark::State& state) {
  const auto keys = static_cast<std::uint64_t>(state.range(0));
  auto memory = Mapping::anonymous(keys * sizeof(KeyEntry), "the bench");
  if (!memory) std::exit(1);
  auto* const entries = reinterpret_cast<KeyEntry*>(memory->data());
  for (std::uint64_t i = 0; i < keys; ++i) entries[i].position = 32 * (i + 1);
  std::uint64_t at = 0;
  std::uint64_t turn = 0;
  for (auto _ : state) {
    const KeyHash hash = hash_of(at);
    benchmark::DoNotOptimize(hash.low);
    at = mix(entries[hash.high % keys].position + ++turn) % keys;
  }
  benchmark::DoNotOptimize(at);
}

/// All of its growth in it.
void add(benchmark::State& state) {
  const auto keys = static_cast<std::uint64_t>(state.range(0));
  for (auto _ : state) {
    auto index = KeyIndex::make();
    for (std::uint64_t i = 0; i < keys; ++i) {
      if (!index->reserve(1)) std::exit(1);
      index->add({hash_of(i), 32 * (i + 1), 2});
    }
    benchmark::DoNotOptimize(index->size());
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

void hash(benchmark::State& state) {
  std::string key(static_cast<std::size_t>(state.range(0)), 'k');
  for (auto _ : state) {
    const KeyHash made = hash_key(key, 42);
    key.front() = static_cast<char>(made.low);  // the next one waits for this one
  }
}

BENCHMARK(bare_load)->Arg(1'000)->Arg(1'000'000)->Arg(10'000'000)->Arg(100'000'000);
BENCHMARK(find_one_after_the_other)->Arg(1'000)->Arg(1'000'000)->Arg(10'000'000)->Arg(100'000'000);
BENCHMARK(find_what_is_not_there)->Arg(1'000)->Arg(1'000'000)->Arg(10'000'000);
BENCHMARK(add)->Arg(1'000'000)->Arg(10'000'000)->Unit(benchmark::kMillisecond);
BENCHMARK(hash)->Arg(8)->Arg(24)->Arg(200);

}  // namespace

BENCHMARK_MAIN();
