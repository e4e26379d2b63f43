#pragma once

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "common/damage.h"
#include "format/frame.h"
#include "format/segment_header.h"
#include "keys/key_hash.h"
#include "keys/keys_file_writer.h"
#include "log/segment_file.h"
#include "log/stored_keys.h"
#include "tailrace/keys.h"

namespace tailrace {

inline void PrintTo(const KeyState& state, std::ostream* out) {
  *out << "{version " << state.version << (state.released ? " released" : "") << " sequence "
       << state.sequence << " position " << state.position << "}";
}

}  // namespace tailrace

namespace tailrace::test {

/// What is known of keys by going over all records: for comparison. Looks before a trim keep what
/// it takes.
class NaiveKeys {
 public:
  struct Use {
    Sequence sequence = 0;
    Position position = 0;
    std::uint64_t version = 0;
    bool released = false;
    bool operator==(const Use&) const = default;
  };

  explicit NaiveKeys(const TempLog& log) : reader_(log.reader()) {}

  /// Reads on to the end.
  void read() {
    RecordView record;
    Outcome outcome;
    while ((outcome = reader_.next(record)) == Outcome::record) {
      for (const KeyView key : record.keys) {
        uses_[std::string(key.bytes)].push_back(
            {record.sequence, record.position, key.version, key.released});
      }
      last_ = record.sequence;
    }
    ASSERT_EQ(outcome, Outcome::end);
  }

  [[nodiscard]] const std::map<std::string, std::vector<Use>>& uses() const { return uses_; }
  [[nodiscard]] Sequence last() const { return last_; }
  /// The last use before a position.
  [[nodiscard]] std::optional<Use> last_use(const std::string& key,
                                            Position before = kUnknown) const {
    std::optional<Use> last;
    const auto known = uses_.find(key);
    if (known == uses_.end()) return last;
    for (const Use& use : known->second) {
      if (use.position < before) last = use;
    }
    return last;
  }
  [[nodiscard]] std::optional<KeyState> state(const std::string& key, Position retained) const {
    const auto use = last_use(key);
    if (!use) return {};
    return KeyState{use->version, use->released, use->sequence,
                    use->position < retained ? 0 : use->position};
  }

 private:
  Reader reader_;
  std::map<std::string, std::vector<Use>> uses_;
  Sequence last_ = 0;
};

/// Writes `keys/base` or `keys/checkpoint` from what was read.
inline void write_keys_file(const TempLog& log, const char* name, Position covers,
                            const NaiveKeys& naive, std::uint32_t flags = 0) {
  const LogFiles files = must(LogFiles::open(log.path()));
  std::filesystem::create_directory(log.path() / file_name::kKeys);
  const Directory directory = must(files.root.open_directory(file_name::kKeys));
  std::vector<StoredKey> keys;
  for (const auto& [key, all] : naive.uses()) {
    const auto use = naive.last_use(key, covers);
    if (!use) continue;
    const KeyHash hash = hash_key(key, files.meta.salt);
    keys.push_back(
        {key, hash.high, hash.low, use->position, use->version, use->sequence, use->released});
  }
  std::sort(keys.begin(), keys.end(), [](const StoredKey& a, const StoredKey& b) {
    return std::tie(a.hash_high, a.hash_low, a.position) <
           std::tie(b.hash_high, b.hash_low, b.position);
  });
  // The log's own writer may be making one of the same name at this moment.
  const std::string own = std::string("test.") + name;
  KeysFileWriter writer = must(KeysFileWriter::begin(directory, own, files.meta));
  for (const StoredKey& key : keys) must(writer.add(key));
  const auto behind = must(SegmentFile::open(files, files.segment_of(covers)));
  KeysHeader header{};
  header.covers = covers;
  header.previous_last_sequence = behind.header.value().previous_last_sequence;
  header.epoch = behind.header->epoch;
  header.previous_end = behind.header->previous_end;
  header.previous_last_timestamp_ns = behind.header->previous_last_timestamp_ns;
  header.flags = flags;
  must(writer.finish(header));
  must(directory.rename(own, name));
}

/// Where damage to a keys file can be put.
inline std::filesystem::path keys_file(const TempLog& log, const char* name) {
  return log.path() / file_name::kKeys / name;
}

/// Appends a record with these keys, the last ones released.
inline Appended append_keyed(Writer& writer, std::vector<std::string_view> keys,
                             std::size_t releases = 0, std::string_view payload = "x") {
  RecordInput record{as_bytes(payload), 0, keys};
  record.releases = releases;
  return must(writer.append(record));
}

/// A batch of one or two records with up to three of so many keys, some of them released.
inline void append_at_random(Writer& writer, std::mt19937_64& random, std::uint64_t kinds,
                             std::string_view payload) {
  std::set<std::string> texts;
  for (std::uint64_t j = random() % 4; j > 0; --j) {
    texts.insert("key" + std::to_string(random() % kinds));
  }
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  RecordInput records[2] = {{as_bytes(payload), 1, views}, {as_bytes(payload), 2, views}};
  records[random() % 2].releases = random() % (views.size() + 1);
  must(writer.append_batch({records, 1 + random() % 2}));
}

/// Goes on in the next segment.
inline void fill_segment(Writer& writer) {
  const Position from = writer.committed() / kSmallSegment;
  const std::string filler(200'000, 'f');
  while (writer.committed() / kSmallSegment == from) must(writer.append(as_bytes(filler)));
}

}  // namespace tailrace::test
