#include "sink/sqlite_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "base/planted.h"
#include "sink/table_sql.h"

namespace tailrace::sink {
namespace {

constexpr const char* kOwnTables = R"(
CREATE TABLE IF NOT EXISTS tailrace_sinks(
  log_id TEXT NOT NULL, sink TEXT NOT NULL, table_name TEXT NOT NULL UNIQUE,
  epoch INTEGER NOT NULL, sequence INTEGER NOT NULL, position INTEGER NOT NULL,
  size INTEGER NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY(log_id, sink));
CREATE TABLE IF NOT EXISTS tailrace_set_aside(
  log_id TEXT NOT NULL, sink TEXT NOT NULL, key BLOB NOT NULL, sequence INTEGER NOT NULL,
  PRIMARY KEY(log_id, sink, key));
)";

const char* sql_type(ColumnType type) {
  switch (type) {
    case ColumnType::any: return "";
    case ColumnType::integer: return " INTEGER";
    case ColumnType::real: return " REAL";
    case ColumnType::text: return " TEXT";
    case ColumnType::blob: return " BLOB";
  }
  return "";
}

std::string create_table(const Mapping& mapping) {
  std::string sql = fmt::format("CREATE TABLE {}(", identifier(mapping.table));
  // What the words' index calls a row by must stay what it is.
  if (!mapping.full_text.empty()) sql += "tailrace_rowid INTEGER PRIMARY KEY, ";
  const char* between = "";
  for (const Column& column : mapping.columns) {
    sql += std::exchange(between, ", ") + identifier(column.name) + sql_type(column.type);
    if (column.is_required) sql += " NOT NULL";
  }
  if (const std::string keys = key_columns(mapping); !keys.empty()) {
    sql += fmt::format(", {}({})", mapping.full_text.empty() ? "PRIMARY KEY" : "UNIQUE", keys);
  }
  return sql + ")";
}

/// An FTS5 table NAME_search that triggers keep as the table is.
std::string create_full_text(const Mapping& mapping) {
  const auto listed = [&](const char* before) {
    std::vector<std::string> names;
    for (const std::string& name : mapping.full_text) names.push_back(before + identifier(name));
    return fmt::format("{}", fmt::join(names, ", "));
  };
  const std::string table = identifier(mapping.table);
  const std::string search = identifier(mapping.table + "_search");
  const std::string add = fmt::format("INSERT INTO {}(rowid, {}) VALUES(new.tailrace_rowid, {});",
                                      search, listed(""), listed("new."));
  const std::string take =
      fmt::format("INSERT INTO {0}({0}, rowid, {1}) VALUES('delete', old.tailrace_rowid, {2});",
                  search, listed(""), listed("old."));
  std::string sql = fmt::format(
      "CREATE VIRTUAL TABLE {} USING fts5({}, content='{}', content_rowid='tailrace_rowid');",
      search, listed(""), mapping.table);
  const auto trigger = [&](const char* suffix, const char* when, const std::string& body) {
    sql += fmt::format("CREATE TRIGGER {} AFTER {} ON {} BEGIN {} END;",
                       identifier(mapping.table + suffix), when, table, body);
  };
  trigger("_search_insert", "INSERT", add);
  trigger("_search_delete", "DELETE", take);
  trigger("_search_update", "UPDATE", take + add);
  return sql;
}

std::int64_t stored(std::uint64_t number) { return static_cast<std::int64_t>(number); }

/// The five numbers that a stamp is in a row, from `at` on.
void bind_stamp(SqliteStatement& to, int at, const std::optional<Stamp>& given) {
  const Stamp stamp = given.value_or(Stamp{});
  to.bind(at, stored(stamp.epoch));
  to.bind(at + 1, stored(stamp.sequence));
  to.bind(at + 2, stored(stamp.position));
  to.bind(at + 3, std::int64_t{stamp.size});
  to.bind(at + 4, std::int64_t{stamp.crc});
}

}  // namespace

SqliteStore::SqliteStore(std::string path, const Mapping& mapping, Owner owner, Existing existing)
    : path_(std::move(path)),
      mapping_(mapping),
      owner_(std::move(owner)),
      log_id_(owner_.log_id.to_string()),
      existing_(existing) {}

std::string SqliteStore::name() const { return fmt::format("{}, table {}", path_, mapping_.table); }

Stored<std::optional<Stamp>> SqliteStore::open() {
  for (auto* const statement : {&insert_, &upsert_, &remove_, &move_, &put_aside_}) *statement = {};
  auto database = SqliteDatabase::open(path_);
  if (!database) return tl::unexpected(database.error());
  database_ = std::move(*database);
  if (auto begun = database_.run("BEGIN IMMEDIATE"); !begun) return tl::unexpected(begun.error());
  auto stamp = take_table();
  if (stamp) {
    if (auto done = database_.run("COMMIT"); !done) stamp = tl::unexpected(done.error());
  }
  if (!stamp) {
    static_cast<void>(database_.run("ROLLBACK"));
    return tl::unexpected(not_of_a_record(stamp.error()));
  }
  if (auto ready = prepare(); !ready) return tl::unexpected(not_of_a_record(ready.error()));
  return stamp;
}

/// Whose is the table, and where did we leave it?
Stored<std::optional<Stamp>> SqliteStore::take_table() {
  if (auto made = database_.run(kOwnTables); !made) return tl::unexpected(made.error());
  auto find = database_.prepare(
      "SELECT log_id, sink, table_name, epoch, sequence, position, size, crc FROM tailrace_sinks "
      "WHERE table_name=?1 OR (log_id=?2 AND sink=?3)");
  if (!find) return tl::unexpected(find.error());
  find->bind_text(1, mapping_.table);
  find->bind_text(2, log_id_);
  find->bind_text(3, owner_.sink);
  std::optional<Stamp> stamp;
  bool is_ours = false;
  for (;;) {
    const auto row = find->step();
    if (!row) return tl::unexpected(row.error());
    if (!*row) break;
    if (find->text(0) != log_id_ || find->text(1) != owner_.sink) {
      return belongs_to_another(name(), find->text(1), find->text(0));
    }
    if (find->text(2) != mapping_.table) {
      return has_another_table(name(), owner_.sink, find->text(2));
    }
    is_ours = true;
    if (find->number(4) == 0) continue;
    stamp = Stamp{.log_id = owner_.log_id,
                  .epoch = static_cast<Epoch>(find->number(3)),
                  .sequence = static_cast<Sequence>(find->number(4)),
                  .position = static_cast<Position>(find->number(5)),
                  .size = static_cast<std::uint32_t>(find->number(6)),
                  .crc = static_cast<std::uint32_t>(find->number(7))};
  }
  if (!is_ours) {
    if (auto made = make_table(); !made) return tl::unexpected(made.error());
    auto add = database_.prepare("INSERT INTO tailrace_sinks VALUES(?,?,?,0,0,0,0,0)");
    if (!add) return tl::unexpected(add.error());
    add->bind_text(1, log_id_);
    add->bind_text(2, owner_.sink);
    add->bind_text(3, mapping_.table);
    if (auto added = add->step(); !added) return tl::unexpected(added.error());
  }
  if (auto fits = check_table(); !fits) return tl::unexpected(fits.error());
  return stamp;
}

Stored<void> SqliteStore::make_table() {
  auto find = database_.prepare("SELECT 1 FROM sqlite_master WHERE name=?1 COLLATE NOCASE");
  if (!find) return tl::unexpected(find.error());
  find->bind_text(1, mapping_.table);
  const auto exists = find->step();
  if (!exists) return tl::unexpected(exists.error());
  find->reset();
  if (*exists) {
    if (existing_ == Existing::adopt && mapping_.full_text.empty()) return {};
    return is_nobodys(name(), mapping_.full_text.empty()
                                  ? "pass --adopt if the sink may have it"
                                  : "rename it: with full_text the sink makes its own");
  }
  if (auto made = database_.run(create_table(mapping_)); !made) return made;
  return mapping_.full_text.empty() ? Stored<void>() : database_.run(create_full_text(mapping_));
}

Stored<void> SqliteStore::check_table() {
  auto list = database_.prepare("SELECT name FROM pragma_table_info(?1)");
  if (!list) return tl::unexpected(list.error());
  list->bind_text(1, mapping_.table);
  std::vector<std::string> names;
  for (;;) {
    const auto row = list->step();
    if (!row) return tl::unexpected(row.error());
    if (!*row) break;
    names.push_back(list->text(0));
  }
  for (const Column& column : mapping_.columns) {
    if (std::find(names.begin(), names.end(), column.name) != names.end()) continue;
    return lacks_column(name(), column);
  }
  return {};
}

Stored<void> SqliteStore::prepare() {
  const auto into = [&](SqliteStatement& statement, const std::string& sql) -> Stored<void> {
    auto prepared = database_.prepare(sql);
    if (!prepared) return tl::unexpected(prepared.error());
    statement = std::move(*prepared);
    return {};
  };
  if (auto done = into(insert_, insert_sql(mapping_, Placeholders::question)); !done) return done;
  if (mapping_.names_rows()) {
    if (auto done = into(upsert_, upsert_sql(mapping_, Placeholders::question)); !done) return done;
    if (auto done = into(remove_, remove_sql(mapping_, Placeholders::question)); !done) return done;
  }
  if (auto done = into(move_,
                       "UPDATE tailrace_sinks SET epoch=?1, sequence=?2, position=?3, size=?4, "
                       "crc=?5 WHERE log_id=?6 AND sink=?7 AND epoch=?8 AND sequence=?9 AND "
                       "position=?10 AND size=?11 AND crc=?12");
      !done) {
    return done;
  }
  return into(put_aside_, "INSERT OR IGNORE INTO tailrace_set_aside VALUES(?,?,?,?)");
}

Stored<void> SqliteStore::apply(const Change& change) {
  SqliteStatement& statement = change.action == Action::insert   ? insert_
                               : change.action == Action::upsert ? upsert_
                                                                 : remove_;
  int at = 0;
  for (std::size_t i = 0; i < change.values.size(); ++i) {
    if (change.action == Action::remove && !mapping_.columns[i].is_key) continue;
    statement.bind(++at, change.values[i]);
  }
  if (auto done = statement.step(); !done) return tl::unexpected(done.error());
  return {};
}

/// The stamp moves only from where we left it: two live sinks cannot double a row.
Stored<void> SqliteStore::move_stamp(const std::optional<Stamp>& from, const Stamp& to) {
  bind_stamp(move_, 1, to);
  move_.bind_text(6, log_id_);
  move_.bind_text(7, owner_.sink);
  bind_stamp(move_, 8, from);
  if (auto done = move_.step(); !done) return tl::unexpected(not_of_a_record(done.error()));
  if (database_.changed_rows() == 1 || planted(Mistake::sink_stamp_not_compared)) return {};
  return stamp_moved(name(), owner_.sink);
}

Stored<void> SqliteStore::in_transaction(std::span<const Change> changes,
                                         const std::optional<Stamp>& from, const Stamp& to,
                                         std::span<const SetAside> set_aside, std::size_t& failed) {
  if (planted(Mistake::sink_stamp_before_rows)) {
    if (auto moved = move_stamp(from, to); !moved) return moved;
    if (auto done = database_.run("COMMIT"); !done) return done;
    planted_pause(20'000);
    if (auto begun = database_.run("BEGIN IMMEDIATE"); !begun) return begun;
  }
  for (std::size_t i = 0; i < changes.size(); ++i) {
    if (changes[i].action == Action::ignore) continue;
    if (auto applied = apply(changes[i]); !applied) {
      failed = i;
      return applied;
    }
  }
  for (const SetAside& one : set_aside) {
    put_aside_.bind_text(1, log_id_);
    put_aside_.bind_text(2, owner_.sink);
    const Value key = Blob{one.key};
    put_aside_.bind(3, key);
    put_aside_.bind(4, stored(one.sequence));
    if (auto put = put_aside_.step(); !put) return tl::unexpected(not_of_a_record(put.error()));
  }
  if (planted(Mistake::sink_stamp_before_rows)) return database_.run("COMMIT");
  if (planted(Mistake::sink_stamp_outside)) {
    if (auto done = database_.run("COMMIT"); !done) return done;
    planted_pause(20'000);
    if (auto begun = database_.run("BEGIN IMMEDIATE"); !begun) return begun;
  }
  if (auto moved = move_stamp(from, to); !moved) return moved;
  return database_.run("COMMIT");
}

Stored<void> SqliteStore::commit(std::span<const Change> changes, const std::optional<Stamp>& from,
                                 const Stamp& to, std::span<const SetAside> set_aside,
                                 std::size_t& failed) {
  failed = std::numeric_limits<std::size_t>::max();
  // Takes the lock at once: a transaction that began by reading could not wait for it.
  if (auto begun = database_.run("BEGIN IMMEDIATE"); !begun) return begun;
  auto done = in_transaction(changes, from, to, set_aside, failed);
  if (!done) static_cast<void>(database_.run("ROLLBACK"));
  return done;
}

Stored<std::vector<SetAside>> SqliteStore::set_aside() {
  auto list =
      database_.prepare("SELECT key, sequence FROM tailrace_set_aside WHERE log_id=?1 AND sink=?2");
  if (!list) return tl::unexpected(list.error());
  list->bind_text(1, log_id_);
  list->bind_text(2, owner_.sink);
  std::vector<SetAside> all;
  for (;;) {
    const auto row = list->step();
    if (!row) return tl::unexpected(row.error());
    if (!*row) return all;
    all.push_back({list->text(0), static_cast<Sequence>(list->number(1))});
  }
}

}  // namespace tailrace::sink
