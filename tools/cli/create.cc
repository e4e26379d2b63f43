#include <tailrace/log.h>

#include <bit>
#include <memory>

#include "cli/command.h"
#include "cli/flags.h"
#include "cli/parse.h"
#include "cli/report.h"

namespace tailrace::cli {
namespace {

constexpr const char* kExamples = R"(Examples:
  tailrace create events
  tailrace create events --segment-size 1GiB
  tailrace create events --journal-size 256MiB)";

std::optional<std::uint64_t> parse_segment_size(std::string_view text) {
  const auto size = parse_size(text);
  if (!size || !std::has_single_bit(*size)) return std::nullopt;
  if (*size < kMinSegmentSizeBytes || *size > kMaxSegmentSizeBytes) return std::nullopt;
  return size;
}

std::optional<std::uint64_t> parse_journal_size(std::string_view text) {
  const auto size = parse_size(text);
  if (!size || *size < kMinJournalSizeBytes || *size % 4096 != 0) return std::nullopt;
  return size;
}

struct Create {
  std::string log;
  CreateOptions options;

  Exit operator()() const {
    const auto created = create_log(log, options);
    return created ? Exit::ok : give_up("create", created.error());
  }
};

}  // namespace

void add_create(CLI::App& app, Run& run) {
  auto& sub = *app.add_subcommand("create", "Make a new, empty log")->footer(kExamples);
  const auto create = std::make_shared<Create>();
  add_log(sub, create->log);
  add_value(sub, "--segment-size", create->options.segment_size_bytes, parse_segment_size,
            {"SIZE", "a power of two from 1MiB to 2GiB",
             "size of each file of the log: a power of two, 1MiB to 2GiB (64MiB)"});
  add_value(
      sub, "--journal-size", create->options.journal_size_bytes, parse_journal_size,
      {"SIZE", "a multiple of 4KiB, at least 256KiB",
       "size of the journal: a multiple of 4KiB, at least 256KiB (a segment's, up to 64MiB)"});
  add_value(sub, "--event-id-window", create->options.event_id_window, parse_number,
            {"N", "a number", "how many event ids are remembered; 0: none are taken (10000000)"});
  sub.callback([&run, create] { run = [create] { return (*create)(); }; });
}

}  // namespace tailrace::cli
