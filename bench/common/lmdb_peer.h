#pragma once

#include <cstdint>
#include <filesystem>

/// The same work by LMDB, where its development package is installed (liblmdb-dev): a peer for
/// comparison, not needed for anything else.
namespace tailrace::bench {

[[nodiscard]] bool has_lmdb() noexcept;

/// Nanoseconds per insert of a key that is not there (MDB_NOOVERWRITE) with 64 B, each in a
/// transaction of its own, without any sync. `present`: keys that are put in before, untimed.
/// Median piece; 0 = failed, or no LMDB.
[[nodiscard]] double lmdb_insert_ns(const std::filesystem::path& directory, std::uint64_t present,
                                    std::uint64_t count);

}  // namespace tailrace::bench
