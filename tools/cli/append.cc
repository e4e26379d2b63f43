#include <tailrace/client.h>
#include <unistd.h>

#include <memory>

#include "cli/appender.h"
#include "cli/command.h"
#include "cli/flags.h"
#include "cli/keys.h"
#include "cli/parse.h"
#include "cli/recovery_text.h"
#include "cli/report.h"

namespace tailrace::cli {
namespace {

constexpr const char* kExamples = R"(Examples:
  echo hello | tailrace append events
  tailrace append events --key-field origin < flights.jsonl
  find . -type f -print0 | tailrace append events -z --type 7 --key inventory
  echo '{"name":"ada"}' | tailrace append users --key user:ada --expect-absent user:ada
  echo '{"pay":100}' | tailrace append payments --event-id 6ba7b810-9dad-11d1-80b4-00c04fd430c8
  echo '{"data":"hello","keys":["user:alice"]}' | tailrace append events --jsonl --acks --durable)";

std::optional<std::string> parse_key(std::string_view text) {
  if (what_is_wrong_with_key(text)) return std::nullopt;
  return std::string(text);
}

std::optional<Expected> parse_absent(std::string_view text) {
  if (what_is_wrong_with_key(text)) return std::nullopt;
  return Expected{ConditionKind::absent, std::string(text), 0};
}

std::optional<Expected> parse_exists(std::string_view text) {
  if (what_is_wrong_with_key(text)) return std::nullopt;
  return Expected{ConditionKind::exists, std::string(text), 0};
}

// K=N; the key may hold further signs of equality.
std::optional<Expected> parse_key_and_number(std::string_view text, ConditionKind kind) {
  const std::size_t equals = text.rfind('=');
  if (equals == std::string_view::npos) return std::nullopt;
  const auto number = parse_number(text.substr(equals + 1));
  if (!number || what_is_wrong_with_key(text.substr(0, equals))) return std::nullopt;
  return Expected{kind, std::string(text.substr(0, equals)), *number};
}

std::optional<Expected> parse_version(std::string_view text) {
  return parse_key_and_number(text, ConditionKind::version);
}

std::optional<Expected> parse_unchanged(std::string_view text) {
  return parse_key_and_number(text, ConditionKind::unchanged);
}

std::optional<Expected> parse_last_sequence(std::string_view text) {
  const auto number = parse_number(text);
  if (!number) return std::nullopt;
  return Expected{ConditionKind::last_sequence, {}, *number};
}

// NAME=EPOCH:SEQ; the name may hold further signs of equality.
std::optional<Expected> parse_fence(std::string_view text) {
  const std::size_t equals = text.rfind('=');
  if (equals == std::string_view::npos) return std::nullopt;
  const std::size_t colon = text.find(':', equals);
  if (colon == std::string_view::npos) return std::nullopt;
  const auto epoch = parse_number(text.substr(equals + 1, colon - equals - 1));
  const auto sequence = parse_number(text.substr(colon + 1));
  if (!epoch || !sequence || what_is_wrong_with_lease(text.substr(0, equals))) return std::nullopt;
  return Expected{ConditionKind::fence, std::string(text.substr(0, equals)), *sequence, *epoch};
}

struct Append {
  std::string log;
  AppendOptions options;
  bool nul = false, length_prefix = false, keep_time = false;
  std::uint64_t retain_bytes = 0;
  std::int64_t retain_age_ns = 0;

  Exit operator()() {
    options.framing = nul ? Framing::nul : length_prefix ? Framing::length_prefix : Framing::lines;
    if (keep_time) options.requests.time = RequestReader::Time::keep;
    ClientOptions connecting;
    connecting.max_in_flight = 4096;
    connecting.writer.retention.max_bytes = retain_bytes;
    connecting.writer.retention.max_age = std::chrono::nanoseconds(retain_age_ns);
    auto client = Client::connect(log, connecting);
    if (!client) return give_up("append", client.error());
    if (client->is_writer()) {
      const std::string found = recovery_text(client->writer()->recovery());
      if (!found.empty()) complain("append", "{}: {}", log, found);
    } else if (retain_bytes > 0 || retain_age_ns > 0) {
      complain("append",
               "{}: a server holds the log, and what it retains is the server's to say: "
               "--retain-size and --retain-age are ignored",
               log);
    }
    const Exit exit = Appender(*client, options).run();
    const auto closed = client->close();
    // After a first failure the second says nothing new.
    return closed || exit == Exit::failure ? exit : give_up("append", closed.error());
  }
};

}  // namespace

void add_append(CLI::App& app, Run& run) {
  auto& sub = *app.add_subcommand("append", "Append records from stdin")->footer(kExamples);
  const auto append = std::make_shared<Append>();
  auto& options = append->options;
  auto& requests = options.requests;
  add_log(sub, append->log);

  auto* const nul = sub.add_flag("-z", append->nul, "records end with a NUL byte, not a newline");
  auto* const length = sub.add_flag("--length-prefix", append->length_prefix,
                                    "before each record its length: u32, little endian");
  auto* const jsonl =
      sub.add_flag("--jsonl", requests.jsonl, "each line is a JSON record or batch");
  nul->excludes(length)->excludes(jsonl);
  length->excludes(jsonl);

  add_value(sub, "--type", requests.type, parse_type,
            {"N", "a number from 0 to 4294967295", "type of the records (0)"})
      ->excludes(jsonl);
  add_values(sub, "--key", requests.keys, parse_key,
             {"K", "a key of 1 to 65535 bytes", "key of the records (repeatable)"})
      ->excludes(jsonl);
  add_values(sub, "--key-field", requests.key_fields, parse_text,
             {"F", "a field", "the value of this field of the JSON payload is a key (repeatable)"})
      ->excludes(jsonl);

  auto& expected = options.expected;
  add_values(
      sub, "--expect-absent", expected, parse_absent,
      {"K", "a key of 1 to 65535 bytes", "append all of stdin as one batch, if no record has K"})
      ->excludes(jsonl);
  add_values(sub, "--expect-exists", expected, parse_exists,
             {"K", "a key of 1 to 65535 bytes", "... if a record has K and it was not released"})
      ->excludes(jsonl);
  add_values(sub, "--expect-version", expected, parse_version,
             {"K=N", "a key, = and a number", "... if N records have K"})
      ->excludes(jsonl);
  add_values(sub, "--expect-unchanged", expected, parse_unchanged,
             {"K=SEQ", "a key, = and a sequence", "... if no record after SEQ has K"})
      ->excludes(jsonl);
  add_values(sub, "--expect-last-sequence", expected, parse_last_sequence,
             {"SEQ", "a number", "... if SEQ is the log's last (0: it is empty)"})
      ->excludes(jsonl);
  add_values(sub, "--expect-fence", expected, parse_fence,
             {"NAME=EPOCH:SEQ", "a lease, =, and its token", "... if the lease is still held so"})
      ->excludes(jsonl);

  add_value(sub, "--event-id", options.event_id, EventId::parse,
            {"HEX", "32 hex digits", "append all of stdin as one batch, and once for this id"})
      ->excludes(jsonl);

  sub.add_flag("--keep-time", append->keep_time,
               "take the timestamps of the records, where they do not fall")
      ->needs(jsonl);
  sub.add_flag("--durable", options.durable,
               "records are to survive a power cut before the answer");
  sub.add_flag("--acks", options.acks, "answer each line with a JSON line on stdout");
  sub.add_flag("--skip-invalid", options.skip_invalid, "count malformed records and go on");
  add_value(sub, "--retain-size", append->retain_bytes, parse_size,
            {"SIZE", "a size like 10GiB", "meanwhile, remove old segments beyond this size"});
  add_value(
      sub, "--retain-age", append->retain_age_ns, parse_age,
      {"AGE", "an age like 90s, 15m, 36h or 7d", "meanwhile, remove segments older than this"});
  sub.callback([&run, append] { run = [append] { return (*append)(); }; });
}

}  // namespace tailrace::cli
