#include "sink/postgres_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <string_view>
#include <utility>

#include "sink/table_sql.h"

namespace tailrace::sink {
namespace {

constexpr const char* kOwnTables[] = {
    "CREATE TABLE IF NOT EXISTS tailrace_sinks("
    "log_id text NOT NULL, sink text NOT NULL, table_name text NOT NULL UNIQUE, "
    "epoch bigint NOT NULL, sequence bigint NOT NULL, position bigint NOT NULL, "
    "size bigint NOT NULL, crc bigint NOT NULL, PRIMARY KEY(log_id, sink))",
    "CREATE TABLE IF NOT EXISTS tailrace_set_aside("
    "log_id text NOT NULL, sink text NOT NULL, key bytea NOT NULL, sequence bigint NOT NULL, "
    "PRIMARY KEY(log_id, sink, key))"};

/// One at a time looks whose a table is: "tailrace" as a number.
constexpr const char* kTakeTurns = "SELECT pg_advisory_xact_lock(8386658438596879717)";

const char* sql_type(ColumnType type) {
  switch (type) {
    case ColumnType::any:
    case ColumnType::text: return "text";
    case ColumnType::integer: return "bigint";
    case ColumnType::real: return "double precision";
    case ColumnType::blob: return "bytea";
  }
  return "text";
}

std::string hex(std::string_view bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text = "\\x";
  for (const char c : bytes) {
    text += kDigits[static_cast<unsigned char>(c) >> 4];
    text += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return text;
}

std::string text_of(const Value& value) {
  if (const auto* const whole = std::get_if<std::int64_t>(&value)) return fmt::format("{}", *whole);
  if (const auto* const real = std::get_if<double>(&value)) return fmt::format("{}", *real);
  if (const auto* const blob = std::get_if<Blob>(&value)) return hex(blob->bytes);
  return std::get<std::string>(value);
}

/// Unsigned numbers as bigint has them.
std::string stored(std::uint64_t number) {
  return fmt::format("{}", static_cast<std::int64_t>(number));
}

std::uint64_t unstored(const char* text) {
  std::int64_t number = 0;
  std::from_chars(text, text + std::char_traits<char>::length(text), number);
  return static_cast<std::uint64_t>(number);
}

void add_stamp(std::vector<std::string>& values, const std::optional<Stamp>& given) {
  const Stamp stamp = given.value_or(Stamp{});
  for (const std::uint64_t number : {stamp.epoch, stamp.sequence, stamp.position,
                                     std::uint64_t{stamp.size}, std::uint64_t{stamp.crc}}) {
    values.push_back(stored(number));
  }
}

/// What an SQLSTATE says of another try. Its first two characters are its class.
Trouble::Kind kind_of(std::string_view state) {
  const std::string_view is = state.substr(0, 2);
  if (is == "22" || is == "23" || is == "P0") return Trouble::Kind::record;
  if (is == "08" || is == "40" || is == "53" || is == "55" || is == "57" || is == "58") {
    return Trouble::Kind::passing;
  }
  return Trouble::Kind::fatal;
}

/// Without its line breaks.
std::string one_line(std::string_view text) {
  while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  std::string line(text);
  std::replace(line.begin(), line.end(), '\n', ' ');
  return line;
}

}  // namespace

PostgresStore::PostgresStore(std::string conninfo, const Mapping& mapping, Owner owner,
                             Existing existing)
    : conninfo_(std::move(conninfo)),
      mapping_(mapping),
      owner_(std::move(owner)),
      log_id_(owner_.log_id.to_string()),
      existing_(existing) {}

std::string PostgresStore::name() const { return fmt::format("table {}", mapping_.table); }

Trouble PostgresStore::trouble_of(const PGresult* result) const {
  if (result == nullptr || PQstatus(connection_.get()) != CONNECTION_OK) {
    return {.kind = Trouble::Kind::passing, .what = one_line(PQerrorMessage(connection_.get()))};
  }
  const char* const state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  return {.kind = state == nullptr ? Trouble::Kind::passing : kind_of(state),
          .what = one_line(PQresultErrorMessage(result))};
}

Stored<PostgresStore::PgResult> PostgresStore::run(const std::string& sql,
                                                   const std::vector<std::string>& values) {
  std::vector<const char*> at;
  at.reserve(values.size());
  for (const std::string& value : values) at.push_back(value.c_str());
  PgResult result(PQexecParams(connection_.get(), sql.c_str(), static_cast<int>(at.size()), nullptr,
                               at.data(), nullptr, nullptr, 0));
  const ExecStatusType status = PQresultStatus(result.get());
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
    return tl::unexpected(trouble_of(result.get()));
  }
  return result;
}

Stored<std::optional<Stamp>> PostgresStore::open() {
  connection_.reset(PQconnectdb(conninfo_.c_str()));
  if (PQstatus(connection_.get()) != CONNECTION_OK) {
    return tl::unexpected(
        Trouble{Trouble::Kind::passing, one_line(PQerrorMessage(connection_.get()))});
  }
  PQsetNoticeProcessor(
      connection_.get(), [](void*, const char*) {}, nullptr);
  // What is committed outlives a power cut, as those who are gated by the sink rely on.
  for (const char* const sql : {"SET synchronous_commit = on", "BEGIN", kTakeTurns}) {
    if (auto done = run(sql); !done) return tl::unexpected(not_of_a_record(done.error()));
  }
  auto stamp = take_table();
  if (stamp) {
    if (auto done = run("COMMIT"); !done) stamp = tl::unexpected(done.error());
  }
  if (!stamp) return tl::unexpected(not_of_a_record(stamp.error()));
  if (auto ready = prepare(); !ready) return tl::unexpected(not_of_a_record(ready.error()));
  return stamp;
}

Stored<std::optional<Stamp>> PostgresStore::take_table() {
  for (const char* const sql : kOwnTables) {
    if (auto made = run(sql); !made) return tl::unexpected(made.error());
  }
  // FOR UPDATE: a sink that was killed may have its COMMIT still under way.
  const auto found = run(
      "SELECT log_id, sink, table_name, epoch, sequence, position, size, crc FROM tailrace_sinks "
      "WHERE table_name=$1 OR (log_id=$2 AND sink=$3) FOR UPDATE",
      {mapping_.table, log_id_, owner_.sink});
  if (!found) return tl::unexpected(found.error());
  const PGresult* const rows = found->get();
  const auto text = [rows](int row, int column) { return PQgetvalue(rows, row, column); };
  std::optional<Stamp> stamp;
  for (int row = 0; row < PQntuples(rows); ++row) {
    if (text(row, 0) != log_id_ || text(row, 1) != owner_.sink) {
      return belongs_to_another(name(), text(row, 1), text(row, 0));
    }
    if (text(row, 2) != mapping_.table) {
      return has_another_table(name(), owner_.sink, text(row, 2));
    }
    if (unstored(text(row, 4)) == 0) continue;
    stamp = Stamp{.log_id = owner_.log_id,
                  .epoch = unstored(text(row, 3)),
                  .sequence = unstored(text(row, 4)),
                  .position = unstored(text(row, 5)),
                  .size = static_cast<std::uint32_t>(unstored(text(row, 6))),
                  .crc = static_cast<std::uint32_t>(unstored(text(row, 7)))};
  }
  if (PQntuples(rows) == 0) {
    if (auto made = make_table(); !made) return tl::unexpected(made.error());
    const auto added = run("INSERT INTO tailrace_sinks VALUES($1,$2,$3,0,0,0,0,0)",
                           {log_id_, owner_.sink, mapping_.table});
    if (!added) return tl::unexpected(added.error());
  }
  if (auto fits = check_table(); !fits) return tl::unexpected(fits.error());
  return stamp;
}

Stored<void> PostgresStore::make_table() {
  const auto found = run("SELECT to_regclass($1) IS NOT NULL", {identifier(mapping_.table)});
  if (!found) return tl::unexpected(found.error());
  if (PQgetvalue(found->get(), 0, 0)[0] == 't') {
    if (existing_ == Existing::adopt) return {};
    return is_nobodys(name(), "pass --adopt if the sink may have it");
  }
  std::string sql = fmt::format("CREATE TABLE {}(", identifier(mapping_.table));
  const char* between = "";
  for (const Column& column : mapping_.columns) {
    sql += fmt::format("{}{} {}{}", std::exchange(between, ", "), identifier(column.name),
                       sql_type(column.type), column.is_required ? " NOT NULL" : "");
  }
  if (const std::string keys = key_columns(mapping_); !keys.empty()) {
    sql += fmt::format(", PRIMARY KEY({})", keys);
  }
  if (auto made = run(sql + ")"); !made) return tl::unexpected(made.error());
  return {};
}

Stored<void> PostgresStore::check_table() {
  for (const Column& column : mapping_.columns) {
    const auto found = run(
        "SELECT 1 FROM pg_attribute WHERE attrelid=to_regclass($1) AND attname=$2 AND attnum>0 AND "
        "NOT attisdropped",
        {identifier(mapping_.table), column.name});
    if (!found) return tl::unexpected(found.error());
    if (PQntuples(found->get()) == 1) continue;
    return lacks_column(name(), column);
  }
  return {};
}

Stored<void> PostgresStore::prepare() {
  std::vector<std::pair<const char*, std::string>> statements = {
      {"insert", insert_sql(mapping_, Placeholders::dollar)}};
  if (mapping_.names_rows()) {
    statements.emplace_back("upsert", upsert_sql(mapping_, Placeholders::dollar));
    statements.emplace_back("delete", remove_sql(mapping_, Placeholders::dollar));
  }
  for (const auto& [name, sql] : statements) {
    const PgResult done(PQprepare(connection_.get(), name, sql.c_str(), 0, nullptr));
    if (PQresultStatus(done.get()) != PGRES_COMMAND_OK) {
      return tl::unexpected(trouble_of(done.get()));
    }
  }
  return {};
}

bool PostgresStore::send(const Change& change) {
  texts_.resize(change.values.size());
  values_.clear();
  for (std::size_t i = 0; i < change.values.size(); ++i) {
    if (change.action == Action::remove && !mapping_.columns[i].is_key) continue;
    if (std::holds_alternative<std::monostate>(change.values[i])) {
      values_.push_back(nullptr);
      continue;
    }
    texts_[i] = text_of(change.values[i]);
    // A text ends at its first zero byte: the database would be told another one.
    if (texts_[i].find('\0') != std::string::npos) texts_[i] = "\xff";  // invalid: refused as such
    values_.push_back(texts_[i].c_str());
  }
  const char* const name = change.action == Action::insert   ? "insert"
                           : change.action == Action::upsert ? "upsert"
                                                             : "delete";
  return PQsendQueryPrepared(connection_.get(), name, static_cast<int>(values_.size()),
                             values_.data(), nullptr, nullptr, 0) == 1;
}

/// All statements in one piece; `failed` becomes the first that was refused.
Stored<void> PostgresStore::send_batch(std::span<const Change> changes, std::size_t& failed) {
  PGconn* const connection = connection_.get();
  const auto lost = [&] { return tl::unexpected(trouble_of(nullptr)); };
  if (PQenterPipelineMode(connection) != 1) return lost();
  std::vector<std::size_t> sent;
  for (std::size_t i = 0; i < changes.size(); ++i) {
    if (changes[i].action == Action::ignore) continue;
    if (!send(changes[i])) return lost();
    sent.push_back(i);
  }
  if (PQpipelineSync(connection) != 1) return lost();
  std::optional<Trouble> trouble;
  for (const std::size_t i : sent) {
    const PgResult result(PQgetResult(connection));
    if (!result) return lost();
    const PgResult end(PQgetResult(connection));  // null between two statements
    const ExecStatusType status = PQresultStatus(result.get());
    if (status == PGRES_COMMAND_OK || trouble) continue;  // after the first all are skipped
    trouble = trouble_of(result.get());
    failed = i;
  }
  const PgResult synced(PQgetResult(connection));
  if (PQresultStatus(synced.get()) != PGRES_PIPELINE_SYNC) return lost();
  if (PQexitPipelineMode(connection) != 1) return lost();
  if (trouble) return tl::unexpected(std::move(*trouble));
  return {};
}

/// The stamp moves only from where we left it: two live sinks cannot double a row.
Stored<void> PostgresStore::finish_transaction(const std::optional<Stamp>& from, const Stamp& to,
                                               std::span<const SetAside> set_aside) {
  for (const SetAside& one : set_aside) {
    const auto put =
        run("INSERT INTO tailrace_set_aside VALUES($1,$2,$3,$4) ON CONFLICT DO NOTHING",
            {log_id_, owner_.sink, hex(one.key), stored(one.sequence)});
    if (!put) return tl::unexpected(not_of_a_record(put.error()));
  }
  std::vector<std::string> values;
  add_stamp(values, to);
  values.push_back(log_id_);
  values.push_back(owner_.sink);
  add_stamp(values, from);
  const auto moved =
      run("UPDATE tailrace_sinks SET epoch=$1, sequence=$2, position=$3, size=$4, crc=$5 WHERE "
          "log_id=$6 AND sink=$7 AND epoch=$8 AND sequence=$9 AND position=$10 AND size=$11 AND "
          "crc=$12",
          values);
  if (!moved) return tl::unexpected(not_of_a_record(moved.error()));
  if (std::string_view(PQcmdTuples(moved->get())) != "1") {
    return stamp_moved(name(), owner_.sink);
  }
  const auto done = run("COMMIT");
  if (!done) return tl::unexpected(done.error());
  // A transaction that had failed is ended by COMMIT without an error.
  if (std::string_view(PQcmdStatus(done->get())) != "COMMIT") {
    return tl::unexpected(Trouble{Trouble::Kind::passing, "the transaction was rolled back"});
  }
  return {};
}

Stored<void> PostgresStore::commit(std::span<const Change> changes,
                                   const std::optional<Stamp>& from, const Stamp& to,
                                   std::span<const SetAside> set_aside, std::size_t& failed) {
  failed = std::numeric_limits<std::size_t>::max();
  if (auto begun = run("BEGIN"); !begun) return tl::unexpected(not_of_a_record(begun.error()));
  auto done = send_batch(changes, failed);
  if (done) done = finish_transaction(from, to, set_aside);
  if (!done && PQstatus(connection_.get()) == CONNECTION_OK &&
      PQpipelineStatus(connection_.get()) == PQ_PIPELINE_OFF) {
    static_cast<void>(run("ROLLBACK"));
  }
  return done;
}

Stored<std::vector<SetAside>> PostgresStore::set_aside() {
  const auto found =
      run("SELECT encode(key, 'hex'), sequence FROM tailrace_set_aside WHERE log_id=$1 AND sink=$2",
          {log_id_, owner_.sink});
  if (!found) return tl::unexpected(found.error());
  std::vector<SetAside> all;
  for (int row = 0; row < PQntuples(found->get()); ++row) {
    SetAside& one = all.emplace_back();
    const std::string_view digits = PQgetvalue(found->get(), row, 0);
    for (std::size_t i = 0; i + 1 < digits.size(); i += 2) {
      unsigned byte = 0;
      std::from_chars(digits.data() + i, digits.data() + i + 2, byte, 16);
      one.key += static_cast<char>(byte);
    }
    one.sequence = unstored(PQgetvalue(found->get(), row, 1));
  }
  return all;
}

}  // namespace tailrace::sink
