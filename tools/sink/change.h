#pragma once

#include <simdjson.h>
#include <tailrace/record.h>

#include <variant>

#include "sink/mapping.h"

namespace tailrace::sink {

struct Blob {
  std::string bytes;
  friend bool operator==(const Blob&, const Blob&) = default;
};

/// NULL, INTEGER, REAL, TEXT, BLOB.
using Value = std::variant<std::monostate, std::int64_t, double, std::string, Blob>;

/// What one record asks of the table.
struct Change {
  Action action = Action::ignore;
  Sequence sequence = 0;
  Epoch epoch = 0;
  std::vector<Value> values;  ///< as Mapping::columns; of a removal only the keys count
};

/// Makes changes of records. A complaint is about the record: it would come again.
class ChangeReader {
 public:
  explicit ChangeReader(const Mapping& mapping) : mapping_(mapping) {}
  [[nodiscard]] tl::expected<void, Complaint> read(const RecordView& record, Change& out);

 private:
  [[nodiscard]] Value field(const Column& column) const;

  const Mapping& mapping_;
  simdjson::dom::parser parser_;
  simdjson::dom::element root_;
};

}  // namespace tailrace::sink
