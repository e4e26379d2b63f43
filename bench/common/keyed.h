#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>

#include "common/stats.h"
#include "tailrace/writer.h"

/// What keys and conditions cost an append. Each call works on a log of its own, or on the writer
/// that it is given; times are nanoseconds.
namespace tailrace::bench {

/// Of the monotonic clock.
[[nodiscard]] inline std::int64_t now_ns() noexcept {
  return std::chrono::steady_clock::now().time_since_epoch().count();
}

/// The key of that number: 12 bytes.
[[nodiscard]] std::string key_name(std::uint64_t number);

/// A writer of a new log at `path` that never syncs by itself.
[[nodiscard]] Writer keyed_writer(const std::filesystem::path& path);

/// Appends records with keys [from, to), one each. False: an append failed.
[[nodiscard]] bool append_keys(Writer& writer, std::uint64_t from, std::uint64_t to);

enum class Ask {
  nothing,  ///< the key of each record is there already
  version,  ///< the same, if the key has the version that it has
  absent,   ///< each key is new, if it is not there: what LMDB's MDB_NOOVERWRITE does
};
/// `count` appends of 64 B payload with one key each, in an order without any. `keys`: so many are
/// there; `versions`: of each; grown by what is appended. Median piece; 0: failed.
[[nodiscard]] double keyed_append_ns(Writer& writer, Ask ask, std::uint64_t keys,
                                     std::vector<std::uint32_t>& versions, std::uint64_t count,
                                     std::uint64_t& next_key);

/// Latency of each of `count` appends; `fresh`: each brings a key of its own, else one of `keys`.
[[nodiscard]] Percentiles keyed_latency(Writer& writer, std::uint64_t count, bool fresh,
                                        std::uint64_t keys, std::uint64_t& next_key);

}  // namespace tailrace::bench
