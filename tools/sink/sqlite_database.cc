#include "sink/sqlite_database.h"

#include <fmt/format.h>

namespace tailrace::sink {
namespace {

/// Another connection may hold the database for so long before we say that it is busy.
constexpr int kBusyTimeoutMs = 1000;

Trouble::Kind kind_of(int code) {
  switch (code & 0xFF) {
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG:
    case SQLITE_RANGE: return Trouble::Kind::record;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_NOMEM:
    case SQLITE_INTERRUPT:
    case SQLITE_IOERR:
    case SQLITE_FULL:
    case SQLITE_CANTOPEN:
    case SQLITE_PROTOCOL:
    case SQLITE_SCHEMA: return Trouble::Kind::passing;
    default: return Trouble::Kind::fatal;
  }
}

}  // namespace

Trouble sqlite_trouble(sqlite3* database, const std::string& path, int code) {
  const char* const what = database == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(database);
  return {.kind = kind_of(code), .what = fmt::format("{}: {}", path, what)};
}

Stored<SqliteStatement> SqliteStatement::prepare(sqlite3* database, const std::string& path,
                                                 const std::string& sql) {
  sqlite3_stmt* made = nullptr;
  const int code = sqlite3_prepare_v3(database, sql.c_str(), static_cast<int>(sql.size() + 1),
                                      SQLITE_PREPARE_PERSISTENT, &made, nullptr);
  if (code != SQLITE_OK) return tl::unexpected(sqlite_trouble(database, path, code));
  SqliteStatement statement;
  statement.statement_.reset(made);
  statement.path_ = path;
  return statement;
}

void SqliteStatement::bind(int at, std::int64_t value) {
  sqlite3_bind_int64(statement_.get(), at, value);
}

void SqliteStatement::bind_text(int at, std::string_view text) {
  sqlite3_bind_text64(statement_.get(), at, text.data(), text.size(), SQLITE_STATIC, SQLITE_UTF8);
}

void SqliteStatement::bind(int at, const Value& value) {
  sqlite3_stmt* const to = statement_.get();
  if (const auto* const whole = std::get_if<std::int64_t>(&value)) {
    sqlite3_bind_int64(to, at, *whole);
  } else if (const auto* const real = std::get_if<double>(&value)) {
    sqlite3_bind_double(to, at, *real);
  } else if (const auto* const text = std::get_if<std::string>(&value)) {
    bind_text(at, *text);
  } else if (const auto* const blob = std::get_if<Blob>(&value)) {
    sqlite3_bind_blob64(to, at, blob->bytes.data(), blob->bytes.size(), SQLITE_STATIC);
  } else {
    sqlite3_bind_null(to, at);
  }
}

Stored<bool> SqliteStatement::step() {
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) {
    auto trouble = sqlite_trouble(sqlite3_db_handle(statement_.get()), path_, code);
    reset();
    return tl::unexpected(std::move(trouble));
  }
  reset();
  return false;
}

std::int64_t SqliteStatement::number(int column) const {
  return sqlite3_column_int64(statement_.get(), column);
}

std::string SqliteStatement::text(int column) const {
  const auto* const at = sqlite3_column_text(statement_.get(), column);
  if (at == nullptr) return {};
  return {reinterpret_cast<const char*>(at),
          static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column))};
}

void SqliteStatement::reset() noexcept { sqlite3_reset(statement_.get()); }

Stored<SqliteDatabase> SqliteDatabase::open(const std::string& path) {
  SqliteDatabase database;
  database.path_ = path;
  sqlite3* opened = nullptr;
  const int code =
      sqlite3_open_v2(path.c_str(), &opened,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  database.database_.reset(opened);
  if (code != SQLITE_OK) return tl::unexpected(sqlite_trouble(opened, path, code));
  sqlite3_extended_result_codes(opened, 1);
  sqlite3_busy_timeout(opened, kBusyTimeoutMs);
  // FULL: what is committed outlives a power cut, as those who are gated by the sink rely on.
  for (const char* const pragma : {"PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL"}) {
    if (auto set = database.run(pragma); !set) return tl::unexpected(set.error());
  }
  return database;
}

Stored<void> SqliteDatabase::run(const std::string& sql) {
  const int code = sqlite3_exec(database_.get(), sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return tl::unexpected(sqlite_trouble(database_.get(), path_, code));
  return {};
}

Stored<SqliteStatement> SqliteDatabase::prepare(const std::string& sql) {
  return SqliteStatement::prepare(database_.get(), path_, sql);
}

}  // namespace tailrace::sink
