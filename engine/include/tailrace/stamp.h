#pragma once

#include "tailrace/types.h"

namespace tailrace {

/// How stored progress names a place in a log: the record that was the last one behind you. Before
/// it is durable a sequence is unique only together with its epoch, so a stamp carries both, and
/// the record's own checksum: a stamp that does not fit the log is noticed, never resumed from.
///
/// Two records of one log are compared by (epoch, sequence) alone: a record (e, s) that is in the
/// log was before the eyes of whoever stored the stamp (E, S) if e <= E and s <= S. For an epoch
/// grows at each open for writing, and recovery only ever cuts a log's end.
struct Stamp {
  LogId log_id;
  Epoch epoch = 0;         ///< of that record; 0 = no record yet, the log's first is to come
  Sequence sequence = 0;   ///< 0 = none yet
  Position position = 0;   ///< where its frame begins
  std::uint32_t size = 0;  ///< of its frame, in bytes; 0 = the frame itself is not known
  std::uint32_t crc = 0;   ///< of its frame
  friend bool operator==(const Stamp&, const Stamp&) = default;
};

}  // namespace tailrace
