#pragma once

#include <algorithm>
#include <map>
#include <set>

#include "common/temp_log.h"
#include "tailrace/consumer.h"

/// What the tests of consumers share.
namespace tailrace::test {

/// Appends so many records, whose payloads are their sequences, and makes them durable.
inline Sequence append(Writer& writer, int count, std::uint32_t type = 0) {
  Sequence last = 0;
  for (int i = 0; i < count; ++i) {
    last = must(writer.append(as_bytes(std::to_string(writer.last_sequence() + 1)), type)).sequence;
  }
  must(writer.sync());
  return last;
}

/// Options that make the consumer.
inline ConsumerOptions made(const ConsumerSetup& setup = {}) {
  ConsumerOptions options;
  options.create = setup;
  return options;
}

inline ConsumerSetup after(std::vector<std::string> gates) {
  ConsumerSetup setup;
  setup.after = std::move(gates);
  return setup;
}

/// Takes what is there, `most` at most: the sequences.
inline std::vector<Sequence> take(Consumer& consumer, std::size_t most) {
  std::vector<Sequence> got;
  RecordView record;
  while (got.size() < most) {
    const Delivery delivery = consumer.next(record);
    if (delivery == Delivery::record) {
      got.push_back(record.sequence);
      continue;
    }
    EXPECT_EQ(delivery, Delivery::end)
        << (delivery == Delivery::failed ? consumer.error().message() : to_string(delivery));
    break;
  }
  return got;
}

/// The code of what went wrong; a success is a failure of the test.
template <class T>
errc code(const Result<T>& result) {
  if (!result) return result.error().code();
  ADD_FAILURE() << "it succeeded";
  return errc::io;
}

/// What everybody is told of a consumer.
inline ConsumerInfo info(const TempLog& log, const std::string& name) {
  for (const ConsumerInfo& each : must(list_consumers(log.path())).consumers) {
    if (each.name == name) return each;
  }
  ADD_FAILURE() << "no consumer " << name;
  return {};
}

inline Stamp stored(const TempLog& log, const std::string& name) {
  return info(log, name).committed;
}

/// The names in LOG/consumers, sorted.
inline std::vector<std::string> files_of(const TempLog& log) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(log.path() / "consumers")) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace tailrace::test
