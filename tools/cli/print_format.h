#pragma once

#include <tailrace/record.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/output.h"

namespace tailrace::cli {

/// `read --format`: text with fields. %s sequence, %t type, %T timestamp_ns, %k keys joined by
/// commas, %p payload, %% a percent sign; \n, \t, \0 and \\.
class PrintFormat {
 public:
  [[nodiscard]] static std::optional<PrintFormat> parse(std::string_view text);

  void print(Output& out, const RecordView& record) const;

 private:
  enum class Field : std::uint8_t { none, sequence, type, timestamp_ns, keys, payload };
  struct Piece {
    std::string text;  // printed first
    Field field = Field::none;
  };
  std::vector<Piece> pieces_;
};

}  // namespace tailrace::cli
