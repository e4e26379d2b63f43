#pragma once

#include <poll.h>

#include "common/damage.h"

/// What the tests of a reader's descriptor share.
namespace tailrace::test {

inline constexpr int kPatienceMs = 20'000;

inline bool readable(int event, int timeout_ms = 0) {
  pollfd descriptor{event, POLLIN, 0};
  return ::poll(&descriptor, 1, timeout_ms) == 1;
}

/// next() until it says something else than `record`.
inline Outcome to_the_end(Reader& reader) {
  RecordView record;
  Outcome outcome{};
  while ((outcome = reader.next(record)) == Outcome::record) {
  }
  return outcome;
}

class Event : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { use_memory_disk(); }
  TempLog log_;
};

}  // namespace tailrace::test
