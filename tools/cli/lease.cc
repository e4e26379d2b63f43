#include <fmt/format.h>
#include <tailrace/client.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/flags.h"
#include "cli/parse.h"
#include "cli/report.h"
#include "cli/signals.h"

namespace tailrace::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kCommand = "lease";
constexpr const char* kExamples =
    R"~(A server must run, since it keeps the time. A token is EPOCH:SEQ, as acquire prints it. Exit 5: not granted.

Examples:
  token=$(tailrace lease jobs acquire billing --ttl 30s --holder "$(hostname)")
  tailrace lease jobs renew billing "$token"
  echo 'invoice 7' | tailrace append jobs --expect-fence "billing=$token"
  tailrace lease jobs release billing "$token")~";

struct Options {
  std::string log;
  std::string name;
  LeaseToken token;
  std::int64_t ttl_ns = 0;
  std::int64_t wait_ns = 0;
  std::string holder;
  bool json = false;
};

std::optional<LeaseToken> parse_token(std::string_view text) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const auto epoch = parse_number(text.substr(0, colon));
  const auto sequence = parse_number(text.substr(colon + 1));
  if (!epoch || !sequence) return std::nullopt;
  return LeaseToken{*epoch, *sequence};
}

Result<Client> connect(const Options& options) {
  ClientOptions connecting;
  connecting.may_write = false;  // a writer that comes and goes gives every lease its time again
  return Client::connect(options.log, connecting);
}

Exit tell(const Options& options, const LeaseDecision& decision) {
  const std::string token = fmt::format("{}:{}", decision.token.epoch, decision.token.sequence);
  if (options.json) {
    const Json json = {{"lease", options.name},
                       {"granted", decision.granted},
                       {"token", decision.token == LeaseToken{} ? Json() : Json(token)},
                       {"epoch", decision.token.epoch},
                       {"sequence", decision.token.sequence},
                       {"remaining_ns", decision.remaining.count()},
                       {"holder", decision.holder}};
    const Exit exit =
        print(kCommand, json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
    return exit == Exit::ok && !decision.granted ? Exit::conflict : exit;
  }
  if (decision.granted) return print(kCommand, token + "\n");
  if (decision.token == LeaseToken{}) {
    complain(kCommand, "{}: not granted: nobody holds '{}' (any more); acquire it", options.log,
             options.name);
  } else {
    complain(kCommand, "{}: not granted: '{}' is held under {} for another {}{}", options.log,
             options.name, token, format_duration(decision.remaining.count()),
             decision.holder.empty() ? "" : " by " + decision.holder);
  }
  return Exit::conflict;
}

Exit acquire(const Options& options) {
  using Time = std::chrono::steady_clock;
  const auto until = Time::now() + std::chrono::nanoseconds(options.wait_ns);
  auto client = connect(options);
  if (!client) return give_up(kCommand, client.error());
  for (;;) {
    auto decision = client->acquire_lease(options.name, std::chrono::nanoseconds(options.ttl_ns),
                                          options.holder);
    if (!decision) return give_up(kCommand, decision.error());
    const auto left = std::chrono::nanoseconds(until - Time::now());
    if (decision->granted || left.count() <= 0) return tell(options, *decision);
    // It may be released sooner than its time is over.
    sleep_unless_stopped(std::min({left, decision->remaining + std::chrono::milliseconds(1),
                                   std::chrono::nanoseconds(std::chrono::seconds(1))}));
    if (stop_requested()) return Exit::interrupted;
  }
}

Exit renew(const Options& options) {
  auto client = connect(options);
  if (!client) return give_up(kCommand, client.error());
  const auto decision = client->renew_lease(options.name, options.token);
  return decision ? tell(options, *decision) : give_up(kCommand, decision.error());
}

Exit release(const Options& options) {
  auto client = connect(options);
  if (!client) return give_up(kCommand, client.error());
  const auto decision = client->release_lease(options.name, options.token);
  return decision ? tell(options, *decision) : give_up(kCommand, decision.error());
}

CLI::App& add_action(CLI::App& parent, Run& run, const std::shared_ptr<Options>& options,
                     const char* name, const char* help, Exit (*action)(const Options&)) {
  auto& sub = *parent.add_subcommand(name, help);
  sub.add_option("NAME", options->name, "of the lease")->required()->type_name("");
  sub.add_flag("--json", options->json, "one JSON object");
  sub.callback([&run, options, action] { run = [options, action] { return action(*options); }; });
  return sub;
}

void add_token(CLI::App& sub, Options& options) {
  add_value(sub, "TOKEN", options.token, parse_token,
            {"", "EPOCH:SEQ, a token as acquire prints it", "as acquire printed it"})
      ->required();
}

}  // namespace

void add_lease(CLI::App& app, Run& run) {
  auto& sub =
      *app.add_subcommand(kCommand, "Hold work that one may do at a time")->footer(kExamples);
  const auto options = std::make_shared<Options>();
  add_log(sub, options->log);
  sub.require_subcommand(1);
  auto& acquired = add_action(sub, run, options, "acquire", "prints its token", acquire);
  add_value(acquired, "--ttl", options->ttl_ns, parse_duration,
            {"TIME", "a duration like 30s", "until it expires, unless renewed"})
      ->required();
  add_value(acquired, "--holder", options->holder, parse_text,
            {"TEXT", "a text", "what others are told who ask for it"});
  add_value(acquired, "--wait", options->wait_ns, parse_duration,
            {"TIME", "a duration like 60s", "for another holder's end (0)"});
  add_token(add_action(sub, run, options, "renew", "its full time again", renew), *options);
  add_token(add_action(sub, run, options, "release", "it is free at once", release), *options);
}

}  // namespace tailrace::cli
