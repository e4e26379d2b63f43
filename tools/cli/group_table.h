#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/groups.h"
#include "cli/output.h"

namespace tailrace::cli {

enum class TableFormat : std::uint8_t { table, json, csv };

struct TableOptions {
  TableFormat format = TableFormat::table;
  /// The name of a column: its largest first. None: by the fields that are grouped by.
  std::optional<std::string> sort;
  std::uint64_t limit = UINT64_MAX;  ///< rows
};

/// The index of the column of that name among those grouped by and the definition's; nothing: there
/// is none.
[[nodiscard]] std::optional<std::size_t> find_column(const GroupDefinition& definition,
                                                     const std::string& name);

/// Groups as rows.
class GroupTable {
 public:
  /// `definition` and `options` outlive it.
  GroupTable(const GroupDefinition& definition, const TableOptions& options);

  /// CSV's first line.
  void write_head(Output& out) const;
  /// The groups that a record behind `after` has changed, as a table with its head, or as lines.
  void write(Output& out, const Groups& groups, Sequence after) const;
  /// The same for a screen: all groups, as many lines as there are rows of them.
  [[nodiscard]] std::vector<std::string> lines(const Groups& groups) const;

 private:
  struct Row {
    std::string_view key;
    const Group* group;
  };
  [[nodiscard]] std::vector<Row> rows(const Groups& groups, Sequence after) const;
  [[nodiscard]] std::vector<std::vector<std::string>> cells(const std::vector<Row>& rows) const;
  void write_json(Output& out, const Row& row) const;
  void write_csv(Output& out, const Row& row) const;

  const GroupDefinition& definition_;
  const TableOptions& options_;
  std::vector<std::string> measured_;
};

}  // namespace tailrace::cli
