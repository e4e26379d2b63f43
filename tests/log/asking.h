#pragma once

#include "retention/trimming.h"

/// What tests ask of a log's keys, and where they are kept.
namespace tailrace::test {

inline std::filesystem::path base_of(const TempLog& log) { return log.path() / "keys" / "base"; }
inline std::filesystem::path checkpoint_of(const TempLog& log) {
  return log.path() / "keys" / "checkpoint";
}

inline Sequence write(Writer& writer, std::vector<std::string_view> keys,
                      std::size_t releases = 0) {
  RecordInput record{as_bytes("x"), 0, keys};
  record.releases = releases;
  return must(writer.append(record)).sequence;
}

/// How the key stands, as a conflict tells it; nothing if it is not known.
inline std::optional<Conflict> ask(Writer& writer, const std::string& key) {
  // A version that no key has.
  const auto decision =
      must(writer.append_if(Condition::version(key, ~std::uint64_t{0} >> 1), {as_bytes("y")}));
  EXPECT_TRUE(decision.conflict);
  if (!decision.conflict || decision.conflict->version == 0) return std::nullopt;
  return decision.conflict;
}

}  // namespace tailrace::test
