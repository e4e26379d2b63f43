#pragma once

#include <simdjson.h>
#include <tailrace/mapped_containers.h>
#include <tailrace/record.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// What `project` folds: records with JSON payloads, in groups by some of their fields.
namespace tailrace::cli {

enum class Operation : std::uint8_t { count, sum, min, max, avg };

/// One column behind the fields that are grouped by.
struct Column {
  Operation operation = Operation::count;
  std::string field;  ///< of a JSON object, or a JSON Pointer ("/aircraft/type"); of count: empty
  /// "count", "sum_delay".
  [[nodiscard]] std::string name() const;
};

struct GroupDefinition {
  std::vector<std::string> by;  ///< fields as in Column; empty: all records are one group
  std::vector<Column> columns;

  /// The fields that any column is about, each once; what a Group's cells are of.
  [[nodiscard]] std::vector<std::string> measured() const;
  /// All of it as text: another definition's snapshots are not this one's.
  [[nodiscard]] std::string schema() const;
};

/// A sum that is exact as long as all that went into it were integers and it fits.
struct Number {
  double real = 0;
  std::int64_t whole = 0;
  std::uint64_t is_whole = 1;

  [[nodiscard]] static Number of(std::int64_t value) noexcept;
  [[nodiscard]] static Number of(double value) noexcept;
  void add(const Number& other) noexcept;
  [[nodiscard]] bool operator<(const Number& other) const noexcept;
};

/// What is kept of one field in one group.
struct Cell {
  std::uint64_t count = 0;  ///< of the values that were numbers
  Number sum;
  Number min;
  Number max;
  void take(const Number& value) noexcept;
};

struct Group {
  using allocator_type = StateAllocator<std::byte>;
  std::uint64_t count = 0;
  Sequence last_sequence = 0;  ///< of the record that changed it last
  MappedVector<Cell> cells;    ///< as GroupDefinition::measured()
  explicit Group(const allocator_type& allocator) : cells(allocator) {}
  Group(const Group& other, const allocator_type& allocator)
      : count(other.count), last_sequence(other.last_sequence), cells(other.cells, allocator) {}
};

/// The state. A group's key is the JSON text of its fields' values, one after the other with a line
/// break between: no JSON text has one inside.
struct Groups {
  MappedHashMap<MappedString, Group> groups;
  std::uint64_t records = 0;
  std::uint64_t not_objects = 0;  ///< payloads that are no JSON objects: left out
  Sequence first_not_object = 0;
  std::uint64_t not_numbers = 0;  ///< values that were to be measured and are no numbers: left out
  Sequence first_not_number = 0;
  explicit Groups(const StateAllocator<std::byte>& allocator) : groups(allocator) {}
};

/// The fold.
class GroupFold {
 public:
  explicit GroupFold(GroupDefinition definition);
  void operator()(MappedState<Groups>& state, const RecordView& record);
  [[nodiscard]] const GroupDefinition& definition() const noexcept { return definition_; }

 private:
  [[nodiscard]] Group& group_of(MappedState<Groups>& state, simdjson::dom::object object);

  GroupDefinition definition_;
  std::vector<std::string> measured_;
  simdjson::dom::parser parser_;
  std::string key_;
};

/// What a column says of a group; nothing: no value went into it.
[[nodiscard]] std::optional<Number> value_of(const Group& group, const Column& column,
                                             const std::vector<std::string>& measured);

/// "42", "0.1", "null" where there is none or JSON has no word for it.
[[nodiscard]] std::string text_of(const std::optional<Number>& number);

}  // namespace tailrace::cli
