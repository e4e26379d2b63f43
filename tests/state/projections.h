#pragma once

#include <cstring>

#include "common/damage.h"
#include "consumers/consumers.h"
#include "tailrace/projection.h"

/// What the tests of projections share.
namespace tailrace::test {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// Plain data, and different after each other sequence of records.
struct Tally {
  std::uint64_t records = 0;
  std::uint64_t chain = 0;  // of all payloads in their order
  std::uint64_t by_bucket[16] = {};
  friend bool operator==(const Tally&, const Tally&) = default;
};
inline void PrintTo(const Tally& tally, std::ostream* out) {
  *out << tally.records << " records, chain " << tally.chain;
}

inline void add(Tally& tally, const RecordView& record) {
  std::uint64_t hash = record.type;
  for (const std::byte byte : record.payload) hash = hash * 131 + static_cast<std::uint64_t>(byte);
  ++tally.records;
  tally.chain = tally.chain * 1'000'003 + hash;
  ++tally.by_bucket[hash % 16];
}

using Tallies = Projection<Tally>;
inline void fold_tally(MappedState<Tally>& state, const RecordView& record) { add(*state, record); }

/// A clean fold of what a plain reader gives, up to a record.
inline Tally folded(const TempLog& log, Sequence to = kUnknown,
                    const std::vector<std::uint32_t>& types = {}) {
  Tally tally;
  Reader reader = log.reader();
  RecordView record;
  while (reader.next_sequence() <= to && reader.next(record) == Outcome::record) {
    const bool wanted =
        types.empty() || std::find(types.begin(), types.end(), record.type) != types.end();
    if (wanted) add(tally, record);
  }
  return tally;
}

/// What a projection was told to note.
struct Notes {
  std::vector<std::string> texts;
  [[nodiscard]] std::size_t with(std::string_view part) const {
    return static_cast<std::size_t>(std::count_if(
        texts.begin(), texts.end(),
        [part](const std::string& text) { return text.find(part) != std::string::npos; }));
  }
};

/// Options under which snapshots are taken only when a test says so.
inline ProjectionOptions named(std::string name, Notes* notes = nullptr) {
  ProjectionOptions options;
  options.name = std::move(name);
  options.snapshots.every_records = 0;
  options.snapshots.every = {};
  options.snapshots.on_close = false;
  if (notes != nullptr) {
    options.note = [notes](const std::string& text) { notes->texts.push_back(text); };
  }
  return options;
}

inline Tallies open_tally(const TempLog& log, const ProjectionOptions& options) {
  return must(Tallies::open(log.path(), options, fold_tally));
}

/// Folds all there is.
inline std::uint64_t fold_all(Tallies& tallies) {
  std::uint64_t folded = 0;
  for (;;) {
    const std::uint64_t now = must(tallies.poll());
    if (now == 0) return folded;
    folded += now;
  }
}

inline std::filesystem::path snapshot_file(const TempLog& log, const std::string& name,
                                           Sequence sequence) {
  char file[32];
  std::snprintf(file, sizeof file, "%020llu.snap", static_cast<unsigned long long>(sequence));
  return log.path() / "snapshots" / name / file;
}

/// A bit in the middle of the body.
inline void damage_snapshot(const TempLog& log, const std::string& name, Sequence sequence) {
  const auto file = snapshot_file(log, name, sequence);
  damage(file, std::filesystem::file_size(file) - 24);
}

inline std::vector<Sequence> snapshots_of(const TempLog& log, const std::string& name) {
  std::vector<Sequence> sequences;
  for (const SnapshotInfo& info : must(list_snapshots(log.path(), name))) {
    sequences.push_back(info.stamp.sequence);
  }
  return sequences;
}

}  // namespace tailrace::test
