#pragma once

#include <cstdint>
#include <filesystem>

/// What states and their snapshots cost, beside bare loops over the same bytes. Each call works in
/// processes of its own on logs below `scratch`, removed again; 0 = it failed, why is on stderr.
namespace tailrace::bench {

/// A projection with one large state and next to no records, opened again and again.
struct Restart {
  double trusted_ns = 0;   ///< Projection::open, body not looked at
  double verified_ns = 0;  ///< the same, and its checksum compared
  double hash_ns = 0;      ///< XXH3-128 over the mapped file once, in turn with these
  double read_ns = 0;      ///< read(2) of it in pieces of 1 MiB, and XXH3-128
};
[[nodiscard]] Restart restart(const std::filesystem::path& scratch, std::uint64_t state_bytes);

/// How long MappedState::write_to keeps its caller.
struct Pause {
  double fresh_ns = 0;      ///< a state that grew in memory: large pages, where there are any
  double restarted_ns = 0;  ///< one that came from a snapshot, and all of it changed since
  double touch_ns = 0;      ///< the first store to a page afterwards, p99, while the child writes
};
[[nodiscard]] Pause pause(const std::filesystem::path& scratch, std::uint64_t state_bytes);

/// Records of 64 B through a fold that adds up a word of each, and through Reader::next alone.
struct FoldRate {
  double fold_ns = 0;
  double replay_ns = 0;
};
[[nodiscard]] FoldRate fold_rate(const std::filesystem::path& scratch, std::uint64_t records);

}  // namespace tailrace::bench
