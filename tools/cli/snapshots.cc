#include <fcntl.h>
#include <fmt/format.h>
#include <tailrace/snapshot.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <nlohmann/json.hpp>
#include <system_error>

#include "cli/command.h"
#include "cli/flags.h"
#include "cli/output.h"
#include "cli/parse.h"
#include "cli/report.h"

namespace tailrace::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kName = "snapshots";
constexpr const char* kExamples = R"(Examples:
  tailrace snapshots events list
  tailrace snapshots events verify orders
  tailrace snapshots events prune orders --keep 2 --yes
  tailrace snapshots events export orders --at 5000000 -o orders.bin)";

/// What all of them may be given; each uses its own.
struct Options {
  std::string log;
  std::string name;
  std::uint64_t sequence = kUnknown;
  std::uint64_t at = kUnknown;
  std::uint32_t keep = 0;
  std::string to;
  bool yes = false;
  bool json = false;
};

std::optional<std::uint32_t> parse_keep(std::string_view text) {
  const auto number = parse_number(text);
  if (!number || *number == 0 || *number > UINT32_MAX) return std::nullopt;
  return static_cast<std::uint32_t>(*number);
}

Json trouble_json(const std::optional<Error>& trouble) {
  if (!trouble) return nullptr;
  return {{"error", to_string(trouble->code())}, {"message", trouble->message()}};
}

std::string json_line(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Json as_json(const SnapshotInfo& info) {
  return {{"name", info.name},
          {"sequence", info.stamp.sequence},
          {"epoch", info.stamp.epoch},
          {"position", std::to_string(info.stamp.position)},
          {"body_size_bytes", info.body_size_bytes},
          {"created_ns", std::to_string(info.created_ns)},
          {"schema", info.schema},
          {"path", info.path},
          {"trouble", trouble_json(info.trouble)}};
}

std::string table(const std::vector<SnapshotInfo>& infos) {
  std::vector<std::vector<std::string>> rows = {{"STATE", "SEQUENCE", "SIZE", "TAKEN", "USABLE"}};
  for (const SnapshotInfo& info : infos) {
    const bool known = info.created_ns != 0;
    rows.push_back({info.name, std::to_string(info.stamp.sequence),
                    known ? format_size(info.body_size_bytes) : "-",
                    known ? format_time(info.created_ns) : "-",
                    info.trouble ? to_string(info.trouble->code()) : "yes"});
  }
  std::vector<std::size_t> widths(rows[0].size());
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      const bool right = i == 1 || i == 2;
      const bool last = i + 1 == row.size();
      text += right  ? fmt::format("{:>{}}", row[i], widths[i])
              : last ? row[i]
                     : fmt::format("{:<{}}", row[i], widths[i]);
      text += last ? "\n" : "  ";
    }
  }
  return text;
}

Exit list(const Options& options) {
  const auto all = list_snapshots(options.log, options.name);
  if (!all) return give_up(kName, all.error());
  if (!options.json) return print(kName, table(*all));
  std::string text;
  for (const SnapshotInfo& info : *all) text += json_line(as_json(info));
  return print(kName, text);
}

Exit none(const Options& options, std::string_view which) {
  complain(kName, "{}: there is no snapshot of {}{}", options.log, options.name, which);
  return Exit::not_found;
}

/// Whether what is wrong is the snapshot's data, or something else about it.
Exit exit_for_trouble(const Error& error) {
  const Exit exit = exit_for(error.code());
  return exit == Exit::corrupt ? Exit::corrupt : Exit::missed;
}

Exit verify(const Options& options) {
  const auto all = list_snapshots(options.log, options.name);
  if (!all) return give_up(kName, all.error());
  std::string text;
  Exit worst = Exit::ok;
  bool any = false;
  for (const SnapshotInfo& info : *all) {
    if (options.sequence != kUnknown && info.stamp.sequence != options.sequence) continue;
    any = true;
    const auto right = verify_snapshot(options.log, info);
    const std::optional<Error> trouble =
        right ? std::optional<Error>() : std::optional<Error>(right.error());
    if (trouble && worst != Exit::corrupt) worst = exit_for_trouble(*trouble);
    if (options.json) {
      text += json_line({{"name", info.name},
                         {"sequence", info.stamp.sequence},
                         {"verdict", trouble ? to_string(trouble->code()) : "ok"},
                         {"trouble", trouble_json(trouble)}});
    } else {
      text += fmt::format("{} {}: {}\n", info.name, info.stamp.sequence,
                          trouble ? trouble->message() : "ok");
    }
  }
  if (!any) {
    return none(options, options.sequence == kUnknown
                             ? std::string()
                             : fmt::format(" as of record {}", options.sequence));
  }
  const Exit said = print(kName, text);
  return said == Exit::ok ? worst : said;
}

Exit prune(const Options& options) {
  const auto removed = options.yes ? prune_snapshots(options.log, options.name, options.keep)
                                   : plan_prune_snapshots(options.log, options.name, options.keep);
  if (!removed) return give_up(kName, removed.error());
  std::string text;
  if (options.json) {
    auto list = Json::array();
    for (const SnapshotInfo& info : *removed) list.push_back(as_json(info));
    text = json_line({{"done", options.yes}, {"removed", list}});
  } else {
    for (const SnapshotInfo& info : *removed) {
      text += fmt::format(
          "{} {} {}{}\n", options.yes ? "removed" : "would remove", info.name, info.stamp.sequence,
          info.trouble ? fmt::format(" ({})", to_string(info.trouble->code())) : "");
    }
    if (removed->empty()) text = fmt::format("nothing goes: {} keeps what it has\n", options.name);
  }
  const Exit said = print(kName, text);
  if (said != Exit::ok || options.yes || removed->empty()) return said;
  complain(kName, "nothing was removed; to do this: tailrace snapshots {} prune {} --keep {} --yes",
           options.log, options.name, options.keep);
  return Exit::failure;
}

/// The newest that can be had, whatever its schema.
Result<Snapshot> open_any(const Options& options) {
  const auto all = list_snapshots(options.log, options.name);
  if (!all) return fail(all.error());
  std::optional<Error> last;
  for (const SnapshotInfo& info : *all) {
    if (info.stamp.sequence > options.at) continue;
    if (info.trouble) {
      complain(kName, "passed over: {}", info.trouble->message());
      continue;
    }
    SnapshotOptions only;
    only.at_most = info.stamp.sequence;
    auto snapshot = Snapshot::open_latest(options.log, info.name, info.schema, only);
    if (snapshot && snapshot->stamp() == info.stamp) return snapshot;
    // Removed or found damaged meanwhile: the next one's turn.
    complain(kName, "passed over: {}",
             !snapshot                         ? snapshot.error().message()
             : snapshot->passed_over().empty() ? info.path + " was removed"
                                               : snapshot->passed_over().front().message());
  }
  return fail(Error(errc::not_found,
                    fmt::format("there is no snapshot of {} that can be used{}", options.name,
                                options.at == kUnknown
                                    ? std::string()
                                    : fmt::format(" and is not behind record {}", options.at)))
                  .path(options.log));
}

/// A file that appears under its name whole, or not at all.
Exit write_whole(const std::string& path, std::string_view bytes) {
  const std::string beside = fmt::format("{}.{}.new", path, ::getpid());
  const int file = ::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
  bool well = file >= 0;
  while (well && !bytes.empty()) {
    const ssize_t written = ::write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    well = written > 0;
    if (well) bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  well = well && ::fsync(file) == 0 && ::rename(beside.c_str(), path.c_str()) == 0;
  const int error = errno;
  if (file >= 0) ::close(file);
  if (well) return Exit::ok;
  if (file >= 0) ::unlink(beside.c_str());
  complain(kName, "{}: {}", path, std::generic_category().message(error));
  return Exit::failure;
}

Exit export_body(const Options& options) {
  const auto snapshot = open_any(options);
  if (!snapshot) return give_up(kName, snapshot.error());
  const std::string_view body = as_text(snapshot->body());
  return options.to.empty() ? print(kName, body) : write_whole(options.to, body);
}

using Action = Exit (*)(const Options&);

CLI::App& add_action(CLI::App& parent, Run& run, const std::shared_ptr<Options>& options,
                     const char* name, const char* help, Action action) {
  auto& sub = *parent.add_subcommand(name, help);
  sub.callback([&run, options, action] { run = [options, action] { return action(*options); }; });
  return sub;
}

CLI::Option* add_name(CLI::App& sub, Options& options) {
  return sub.add_option("NAME", options.name, "the state")->type_name("");
}

}  // namespace

void add_snapshots(CLI::App& app, Run& run) {
  auto& sub = *app.add_subcommand(kName, "Snapshots of states")->footer(kExamples);
  const auto options = std::make_shared<Options>();
  add_log(sub, options->log);
  sub.require_subcommand(1);

  auto& listed = add_action(sub, run, options, "list", "all, or those of one state", list);
  add_name(listed, *options);
  listed.add_flag("--json", options->json, "one JSON object per snapshot");

  auto& verified =
      add_action(sub, run, options, "verify", "read them and compare checksums", verify);
  add_name(verified, *options)->required();
  add_value(verified, "SEQ", options->sequence, parse_number,
            {"", "a sequence", "only the one as of this record"});
  verified.add_flag("--json", options->json, "one JSON object per snapshot");

  auto& pruned = add_action(sub, run, options, "prune", "remove old ones", prune);
  add_name(pruned, *options)->required();
  add_value(pruned, "--keep", options->keep, parse_keep,
            {"N", "a number above 0", "so many of the newest stay"})
      ->required();
  pruned.add_flag("--yes", options->yes, "do it");
  pruned.add_flag("--json", options->json, "one JSON object");

  auto& exported =
      add_action(sub, run, options, "export", "the body of the newest one, verified", export_body);
  add_name(exported, *options)->required();
  add_value(exported, "--at", options->at, parse_number,
            {"SEQ", "a sequence", "the newest that is not behind this record"});
  add_value(exported, "-o", options->to, parse_text, {"FILE", "a file", "there instead of stdout"});
}

}  // namespace tailrace::cli
