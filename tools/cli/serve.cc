#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <tailrace/server.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <deque>
#include <memory>
#include <system_error>
#include <thread>

#include "cli/command.h"
#include "cli/flags.h"
#include "cli/notify.h"
#include "cli/parse.h"
#include "cli/report.h"
#include "cli/serve_log.h"
#include "cli/signals.h"

namespace tailrace::cli {
namespace {

constexpr const char* kExamples =
    R"(Clients are let in by user: the log's owner and root, and whom --allow names.
SIGTERM and SIGINT end it: what was taken is finished, made durable and answered.

Examples:
  tailrace serve events
  tailrace serve events --allow ada --allow @traders --retain-size 100GiB
  tailrace serve orders quotes --busy-poll --json)";

/// A user, or (with @) a group.
struct Allowed {
  std::uint32_t id = 0;
  bool group = false;
};

std::optional<Allowed> parse_allowed(std::string_view text) {
  const bool group = text.starts_with('@');
  const std::string name(text.substr(group ? 1 : 0));
  if (name.empty()) return std::nullopt;
  if (const auto number = parse_number(name)) {
    if (*number >= UINT32_MAX) return std::nullopt;
    return Allowed{static_cast<std::uint32_t>(*number), group};
  }
  if (group) {
    const ::group* const found = ::getgrnam(name.c_str());
    return found == nullptr ? std::nullopt : std::optional(Allowed{found->gr_gid, true});
  }
  const ::passwd* const found = ::getpwnam(name.c_str());
  return found == nullptr ? std::nullopt : std::optional(Allowed{found->pw_uid, false});
}

std::optional<int> parse_cpu(std::string_view text) {
  const auto number = parse_number(text);
  if (!number || *number >= 4096) return std::nullopt;
  return static_cast<int>(*number);
}

struct Serve {
  std::vector<std::string> logs;
  std::vector<Allowed> allowed;
  ServerOptions options;
  std::uint64_t retain_bytes = 0;
  std::int64_t retain_age_ns = 0;
  std::int64_t sync_interval_ns = 10'000'000;
  std::int64_t wait_ns = 0;
  bool json = false;
  bool mlock = false;

  Exit operator()() {
    if (logs.size() > 1 && options.cpu >= 0) {
      complain("serve", "--cpu is for one log: the loops of several would share the core");
      return Exit::usage;
    }
    take_options();
    ServeLog log(json);
    raise_descriptor_limit();
    if (mlock && !lock_memory()) return Exit::failure;
    std::deque<Server> servers;
    for (const std::string& path : logs) {
      options.on_event = [&log, path](const ServerEvent& event) { log.event(path, event); };
      auto server = Server::open(path, options);
      if (!server) return give_up("serve", server.error());
      log.recovery(path, server->recovery());
      servers.push_back(std::move(*server));
    }
    return run(servers);
  }

 private:
  void take_options() {
    for (const Allowed& each : allowed) {
      (each.group ? options.allowed_gids : options.allowed_uids).push_back(each.id);
    }
    options.writer.retention.max_bytes = retain_bytes;
    options.writer.retention.max_age = std::chrono::nanoseconds(retain_age_ns);
    options.writer.sync_interval =
        std::chrono::milliseconds(std::max<std::int64_t>(1, sync_interval_ns / 1'000'000));
    options.writer.lock_timeout = std::chrono::milliseconds(wait_ns / 1'000'000);
  }

  /// Clients take descriptors, and segments must not lack them.
  static void raise_descriptor_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    static_cast<void>(::setrlimit(RLIMIT_NOFILE, &limit));
  }

  /// Everything that is touched stays in memory; what is only mapped need not be there.
  static bool lock_memory() {
    if (::mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0) return true;
    complain("serve",
             "--mlock: {}; raise the limit (ulimit -l unlimited, or LimitMEMLOCK=infinity in the "
             "unit)",
             std::generic_category().message(errno));
    return false;
  }

  /// One loop each, until a signal comes or one of them fails; then all end.
  static Exit run(std::deque<Server>& servers) {
    Exit exit = Exit::ok;
    std::deque<std::atomic<bool>> ended(servers.size());
    std::deque<std::optional<Error>> errors(servers.size());
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < servers.size(); ++i) {
      threads.emplace_back([&, i] {
        if (auto done = servers[i].run(); !done) errors[i] = std::move(done.error());
        ended[i].store(true);
      });
    }
    notify_manager("READY=1");
    const auto any_ended = [&] {
      return std::any_of(ended.begin(), ended.end(), [](const auto& each) { return each.load(); });
    };
    while (!stop_requested() && !any_ended()) {
      sleep_unless_stopped(std::chrono::milliseconds(200));
    }
    notify_manager("STOPPING=1");
    for (Server& server : servers) server.stop();
    for (std::thread& thread : threads) thread.join();
    for (const auto& error : errors) {
      if (!error) continue;
      const Exit failed = give_up("serve", *error);
      if (exit == Exit::ok) exit = failed;
    }
    return exit;
  }
};

}  // namespace

void add_serve(CLI::App& app, Run& run) {
  auto& sub = *app.add_subcommand("serve", "Write a log for other processes")->footer(kExamples);
  const auto serve = std::make_shared<Serve>();
  ServerOptions& options = serve->options;
  sub.add_option("LOG", serve->logs, "directories of the logs")->required()->type_name("...");
  add_values(sub, "--allow", serve->allowed, parse_allowed,
             {"WHO", "a user, or @ and a group, by name or number", "may append (repeatable)"});
  sub.add_flag("--allow-all", options.allow_all, "whoever can reach the socket may append");
  sub.add_flag("--trust-clients", options.trust_clients,
               "before Linux 6.16: let allowed users in although they could hold the server");
  sub.add_flag("--busy-poll", options.busy_poll, "never sleep: a core for each log");
  add_value(sub, "--cpu", options.cpu, parse_cpu,
            {"N", "the number of a core", "the loop stays on this core"});
  sub.add_flag("--mlock", serve->mlock, "what was touched stays in memory");
  add_value(sub, "--sync-interval", serve->sync_interval_ns, parse_duration,
            {"TIME", "a duration like 5ms", "what is appended is durable after it (10ms)"});
  add_value(sub, "--retain-size", serve->retain_bytes, parse_size,
            {"SIZE", "a size like 10GiB", "remove old segments beyond this size"});
  add_value(sub, "--retain-age", serve->retain_age_ns, parse_age,
            {"AGE", "an age like 90s, 15m, 36h or 7d", "remove segments older than this"});
  add_value(sub, "--wait", serve->wait_ns, parse_duration,
            {"TIME", "a duration like 5s", "for another writer to let go of the log (0)"});
  add_value(sub, "--max-clients", options.max_clients, parse_number,
            {"N", "a number", "in all (4096)"});
  add_value(sub, "--max-clients-per-user", options.max_clients_per_user, parse_number,
            {"N", "a number", "of one user, who is not root (128)"});
  add_value(sub, "--max-ring-bytes-per-user", options.max_ring_bytes_per_user, parse_size,
            {"SIZE", "a size like 64MiB", "shared memory of one user's clients (256MiB)"});
  sub.add_flag("--json", serve->json, "what it says on stderr are JSON objects");
  sub.callback([&run, serve] { run = [serve] { return (*serve)(); }; });
}

}  // namespace tailrace::cli
