#pragma once

#include <sqlite3.h>

#include <memory>
#include <string>

#include "sink/store.h"

namespace tailrace::sink {

/// What SQLite said, and whether it may say otherwise later.
[[nodiscard]] Trouble sqlite_trouble(sqlite3* database, const std::string& path, int code);

/// A statement, compiled once and run again and again.
class SqliteStatement {
 public:
  SqliteStatement() = default;
  [[nodiscard]] static Stored<SqliteStatement> prepare(sqlite3* database, const std::string& path,
                                                       const std::string& sql);
  void bind(int at, const Value& value);
  void bind(int at, std::int64_t value);
  /// The text must live until the statement has run.
  void bind_text(int at, std::string_view text);
  /// True: there is a row to be read. Otherwise it is done and can be bound anew.
  [[nodiscard]] Stored<bool> step();
  [[nodiscard]] std::int64_t number(int column) const;
  [[nodiscard]] std::string text(int column) const;
  void reset() noexcept;
  [[nodiscard]] explicit operator bool() const noexcept { return statement_ != nullptr; }

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const noexcept { sqlite3_finalize(statement); }
  };
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  std::string path_;
};

class SqliteDatabase {
 public:
  SqliteDatabase() = default;
  /// Opened, in WAL mode and with each commit durable.
  [[nodiscard]] static Stored<SqliteDatabase> open(const std::string& path);
  [[nodiscard]] Stored<void> run(const std::string& sql);
  [[nodiscard]] Stored<SqliteStatement> prepare(const std::string& sql);
  [[nodiscard]] sqlite3* get() const noexcept { return database_.get(); }
  /// Of the last statement.
  [[nodiscard]] int changed_rows() const noexcept { return sqlite3_changes(database_.get()); }

 private:
  struct Close {
    void operator()(sqlite3* database) const noexcept { sqlite3_close_v2(database); }
  };
  std::unique_ptr<sqlite3, Close> database_;
  std::string path_;
};

}  // namespace tailrace::sink
