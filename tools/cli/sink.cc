#include "sink/sink.h"

#include <fmt/format.h>
#include <tailrace/log.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <thread>

#include "cli/command.h"
#include "cli/flags.h"
#include "cli/parse.h"
#include "cli/place.h"
#include "cli/report.h"
#include "cli/signals.h"
#include "sink/postgres_store.h"
#include "sink/redis_store.h"
#include "sink/sqlite_store.h"

namespace tailrace::cli {
namespace {

constexpr const char* kName = "sink";
constexpr const char* kExamples = R"(Examples:
  tailrace sink sqlite events --database shop.db --mapping users.json
  tailrace sink postgres events --database 'host=/run/postgresql dbname=shop' --mapping users.json --follow
  tailrace sink redis events --database /run/redis.sock --mapping users.json --follow --after users
  tailrace sink sqlite events --database shop.db --mapping users.json --dead-letter refused

The mapping says which fields go into which columns: docs/sinks.md.)";

enum class Kind : std::uint8_t { sqlite, postgres, redis };

struct Options {
  sink::SinkOptions sink;
  std::string database;
  std::string mapping;
  std::optional<Place> from;
  std::int64_t batch_ns = 10'000'000;
  std::int64_t hold_back_ns = 0;
  bool follow = false;
  bool adopt = false;
  bool json = false;
};

std::unique_ptr<sink::Store> make_store(Kind kind, const Options& options,
                                        const sink::Mapping& mapping, const sink::Owner& owner) {
  const auto existing = options.adopt ? sink::Existing::adopt : sink::Existing::refuse;
  switch (kind) {
    case Kind::sqlite:
      return std::make_unique<sink::SqliteStore>(options.database, mapping, owner, existing);
    case Kind::postgres:
      return std::make_unique<sink::PostgresStore>(options.database, mapping, owner, existing);
    case Kind::redis: return std::make_unique<sink::RedisStore>(options.database, mapping, owner);
  }
  return nullptr;
}

/// What the mapping asks for that this store cannot do; empty: nothing.
std::string impossible(Kind kind, const sink::Mapping& mapping) {
  if (kind != Kind::sqlite && !mapping.full_text.empty()) return "full_text is SQLite's alone";
  if (kind == Kind::redis && !mapping.names_rows()) {
    return "Redis needs a column with \"key\": true: it finds rows by nothing else";
  }
  return {};
}

Exit exit_of(const sink::SinkFailure& failure) {
  complain(kName, std::string_view(failure.error.message()));
  switch (failure.kind) {
    case sink::SinkFailure::Kind::log: return exit_for(failure.error.code());
    case sink::SinkFailure::Kind::lost: return Exit::locked;
    case sink::SinkFailure::Kind::record:
    case sink::SinkFailure::Kind::store: break;
  }
  return Exit::failure;
}

Exit run_sink(Kind kind, Options options) {
  auto mapping = sink::read_mapping(options.mapping);
  if (!mapping) {
    complain(kName, std::string_view(mapping.error()));
    return Exit::failure;
  }
  if (const std::string wrong = impossible(kind, *mapping); !wrong.empty()) {
    complain(kName, "{}: {}", options.mapping, wrong);
    return Exit::failure;
  }
  const auto info = inspect(options.sink.log);
  if (!info) return give_up(kName, info.error());
  if (options.sink.name.empty()) options.sink.name = mapping->table;
  if (options.from) {
    options.sink.start.kind = options.from->kind == Place::Kind::start ? StartAt::Kind::start
                              : options.from->kind == Place::Kind::end ? StartAt::Kind::end
                                                                       : StartAt::Kind::sequence;
    options.sink.start.sequence = options.from->sequence;
  }
  options.sink.follow = options.follow;
  options.sink.batch = std::chrono::nanoseconds(options.batch_ns);
  options.sink.hold_back = std::chrono::nanoseconds(options.hold_back_ns);
  options.sink.note = [](const std::string& note) { complain(kName, std::string_view(note)); };
  const sink::Owner owner{info->log_id, options.sink.name};
  sink::Sink sink(options.sink, *mapping, owner, make_store(kind, options, *mapping, owner));

  // Told to stop from beside, so that a wait for a database ends as well.
  std::atomic<bool> over{false};
  std::thread watch([&] {
    while (!over && !stop_requested()) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    sink.stop();
  });
  const auto ran = sink.run();
  over = true;
  watch.join();
  const sink::SinkCounts& counts = sink.counts();
  const Sequence at = sink.stored() ? sink.stored()->sequence : 0;
  Exit exit = !ran ? exit_of(ran.error()) : stop_requested() ? Exit::interrupted : Exit::ok;
  if (!options.json) return exit;
  const Exit printed = print(
      kName,
      fmt::format(R"({{"sequence":{},"records":{},"transactions":{},"set_aside":{},"retries":{}}})"
                  "\n",
                  at, counts.records, counts.transactions, counts.set_aside, counts.retries));
  return exit == Exit::ok ? printed : exit;
}

bool is_start(const Place& place) {
  return place.kind == Place::Kind::start || place.kind == Place::Kind::end ||
         place.kind == Place::Kind::sequence;
}

void add_kind(CLI::App& sub, Run& run, Kind kind, const char* name, const char* text,
              const char* database) {
  auto& store = *sub.add_subcommand(name, text);
  const auto options = std::make_shared<Options>();
  add_log(store, options->sink.log);
  add_value(store, "--database", options->database, parse_text, {"PLACE", "a place", database})
      ->required();
  add_value(store, "--mapping", options->mapping, parse_text,
            {"FILE", "a file", "JSON: which fields go into which columns"})
      ->required();
  add_value(store, "--name", options->sink.name, parse_text,
            {"NAME", "a name", "of the sink, as a consumer too (the table's)"});
  add_values(store, "--after", options->sink.after, parse_text,
             {"NAME", "a name", "never passes that consumer (repeatable; when it is made)"});
  store.add_flag("--follow", options->follow, "goes on as records come");
  add_value(store, "--from", options->from, parse_place,
            {"PLACE", "start, end or a sequence",
             "where a new sink begins (record 1; if that was trimmed, say start)"});
  add_value(store, "--dead-letter", options->sink.dead_letter, parse_text,
            {"LOG2", "a log", "records that cannot be stored go there; else they end the sink"});
  store.add_flag("--dead-letter-key-stops", options->sink.key_stops,
                 "and so do all later ones with a key of theirs");
  add_value(store, "--hold-back", options->hold_back_ns, parse_age,
            {"AGE", "an age like 7d",
             "records of so long stay in the log, for a store that comes back from a backup"});
  add_value(store, "--hold-back-cap", options->sink.hold_back_cap_bytes, parse_size,
            {"SIZE", "a size like 64GiB", "but not more of the log than this (64GiB)"});
  add_value(store, "--batch-time", options->batch_ns, parse_duration,
            {"TIME", "a duration like 10ms", "a record waits for others so long (10ms)"});
  if (kind != Kind::redis) {
    store.add_flag("--adopt", options->adopt, "takes a table that is there already, and no sink's");
  }
  store.add_flag("--json", options->json, "one JSON object with counts at the end");
  store.callback([&run, options, kind] {
    if (options->sink.key_stops && !options->sink.dead_letter) {
      throw CLI::ValidationError("--dead-letter-key-stops", "only with --dead-letter");
    }
    if (options->from && !is_start(*options->from)) {
      throw CLI::ValidationError("--from", "start, end or a sequence");
    }
    run = [options, kind] { return run_sink(kind, *options); };
  });
}

}  // namespace

void add_sink(CLI::App& app, Run& run) {
  auto& sub = *app.add_subcommand("sink", "Bring a log into a database, exactly once, in order")
                   ->footer(kExamples);
  sub.require_subcommand(1);
  add_kind(sub, run, Kind::sqlite, "sqlite", "A table of an SQLite database", "the database file");
  add_kind(sub, run, Kind::postgres, "postgres", "A table of a PostgreSQL database",
           "as libpq takes it: 'host=/run/postgresql dbname=shop'");
  add_kind(sub, run, Kind::redis, "redis", "Strings of a Redis database",
           "HOST:PORT, or the path of a unix socket");
}

}  // namespace tailrace::cli
