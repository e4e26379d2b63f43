#include "common/keyed.h"

#include <fmt/format.h>

#include <cstdlib>

#include "tailrace/log.h"

namespace tailrace::bench {
namespace {

std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

constexpr std::string_view kPayload =
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
static_assert(kPayload.size() == 64);

}  // namespace

std::string key_name(std::uint64_t number) { return fmt::format("k{:011}", number); }

Writer keyed_writer(const std::filesystem::path& path) {
  WriterOptions options;
  options.sync = SyncPolicy::none;
  if (!create_log(path)) std::exit(1);
  auto writer = Writer::open(path, options);
  if (!writer) std::exit(1);
  return std::move(*writer);
}

bool append_keys(Writer& writer, std::uint64_t from, std::uint64_t to) {
  for (; from < to; ++from) {
    const std::string key = key_name(from);
    const std::string_view keys[] = {key};
    if (!writer.append({as_bytes(kPayload), 1, keys})) return false;
  }
  return true;
}

double keyed_append_ns(Writer& writer, Ask ask, std::uint64_t keys,
                       std::vector<std::uint32_t>& versions, std::uint64_t count,
                       std::uint64_t& next_key) {
  std::uint64_t turn = 0;
  char name[12];
  return median_piece_ns(count, now_ns, [&](std::uint64_t n) {
    for (std::uint64_t i = 0; i < n; ++i) {
      const std::uint64_t number = ask == Ask::absent ? next_key++ : mix(++turn + count) % keys;
      name[0] = 'k';
      std::uint64_t rest = number;
      for (int at = 11; at > 0; --at, rest /= 10) name[at] = static_cast<char>('0' + rest % 10);
      const std::string_view key(name, sizeof name);
      const RecordInput record{as_bytes(kPayload), 1, {&key, 1}};
      if (ask == Ask::nothing) {
        if (!writer.append(record)) return false;
        ++versions[number];
        continue;
      }
      const Condition condition =
          ask == Ask::absent ? Condition::absent(key) : Condition::version(key, versions[number]++);
      const auto decision = writer.append_if(condition, record);
      if (!decision || !decision->appended()) return false;
    }
    return true;
  });
}

Percentiles keyed_latency(Writer& writer, std::uint64_t count, bool fresh, std::uint64_t keys,
                          std::uint64_t& next_key) {
  std::vector<std::uint32_t> samples(count);
  std::uint64_t turn = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::string name = key_name(fresh ? next_key++ : mix(++turn) % keys);
    const std::string_view key = name;
    const RecordInput record{as_bytes(kPayload), 1, {&key, 1}};
    const std::int64_t start = now_ns();
    if (!writer.append(record)) return {};
    samples[i] = static_cast<std::uint32_t>(now_ns() - start);
  }
  return percentiles(samples);
}

}  // namespace tailrace::bench
