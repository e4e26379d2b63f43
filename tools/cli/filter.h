#pragma once

#include <tailrace/record.h>

#include <cstdint>
#include <string>
#include <vector>

namespace tailrace::cli {

/// Which records `read` shows: those with any of the keys or prefixes, and with any of the types;
/// an empty list asks for nothing.
struct Filter {
  std::vector<std::string> keys;
  std::vector<std::string> key_prefixes;
  std::vector<std::uint32_t> types;
  bool engine_records = false;

  [[nodiscard]] bool shows(const RecordView& record) const;
};

}  // namespace tailrace::cli
