#pragma once

#include "common/naive_keys.h"
#include "tailrace/history.h"

/// What the tests of histories share.
namespace tailrace::test {

/// All there is of a record, copied.
struct Whole {
  Copied copied;
  Position position = 0;
  Epoch epoch = 0;
  std::int64_t timestamp_ns = 0;
  bool batch_goes_on = false;
  friend bool operator==(const Whole&, const Whole&) = default;
};

inline void PrintTo(const Whole& whole, std::ostream* out) {
  *out << whole.copied.sequence << " at " << whole.position << " of epoch " << whole.epoch;
}

inline Whole whole(const RecordView& record) {
  return {copy(record), record.position, record.epoch, record.timestamp_ns, record.batch_goes_on};
}

/// What reading everything finds of a key.
inline std::vector<Whole> scan(const TempLog& log, std::string_view key, Sequence since = 0) {
  Reader reader = log.reader();
  std::vector<Whole> all;
  RecordView record;
  Outcome outcome;
  while ((outcome = reader.next(record)) == Outcome::record) {
    if (record.sequence <= since) continue;
    for (const KeyView its : record.keys) {
      if (its.bytes == key) all.push_back(whole(record));
    }
  }
  EXPECT_EQ(outcome, Outcome::end);
  return all;
}

inline HistoryOptions options(Direction direction, Sequence since = 0) {
  HistoryOptions options;
  options.direction = direction;
  options.since = since;
  return options;
}

inline std::vector<Whole> all_of(History& history, Outcome expected = Outcome::end) {
  std::vector<Whole> all;
  RecordView record;
  Outcome outcome;
  while ((outcome = history.next(record)) == Outcome::record) all.push_back(whole(record));
  EXPECT_EQ(outcome, expected) << (outcome == Outcome::end ? "" : history.error().message());
  return all;
}

}  // namespace tailrace::test
