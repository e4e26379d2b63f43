#include <fmt/format.h>

#include "cli/appender.h"
#include "cli/report.h"
#include "cli/signals.h"

namespace tailrace::cli {

// All of stdin as one request: nothing is appended before its end has been seen.
Exit Appender::run_as_one() {
  for (;;) {
    std::string_view frame;
    const Got got = input_.next(frame);
    if (got == Got::end) {
      if (append_as_one() == Next::stop) gathered_.clear();
      return finish();
    }
    if (got != Got::nothing) {
      const Next next = got == Got::frame ? (++line_, gather(frame)) : take(got, frame);
      if (next == Next::stop) return finish();
      continue;
    }
    if (!fill()) return finish();
  }
}

Appender::Next Appender::gather(std::string_view frame) {
  const auto request = requests_.read(frame);
  if (!request) return invalid(request.error());
  const RecordInput& record = request->records.front();
  gathered_bytes_ += record.payload.size();
  if (gathered_bytes_ > client_.max_payload_bytes()) {
    return refused(Error(errc::too_large,
                         "all of stdin is one batch, and a segment takes only "
                         "one of " +
                             std::to_string(client_.max_payload_bytes()) + " bytes"));
  }
  gathered_.push_back({std::string(as_text(record.payload)),
                       {record.keys.begin(), record.keys.end()},
                       record.type});
  return Next::go_on;
}

Appender::Next Appender::append_as_one() {
  if (gathered_.empty()) return Next::go_on;  // nothing to append: nothing to decide
  std::vector<std::vector<std::string_view>> keys;
  std::vector<RecordInput> records;
  for (const Gathered& each : gathered_) {
    keys.emplace_back(each.keys.begin(), each.keys.end());
    records.push_back({as_bytes(each.payload), each.type, keys.back()});
  }
  std::vector<Condition> conditions;
  for (const Expected& each : options_.expected) {
    conditions.push_back({each.kind, each.key, each.number, nullptr, each.epoch});
  }
  line_ = 1;
  if (writer_ == nullptr) return submit({records, conditions, options_.event_id}, true);
  const auto decision = writer_->append_if({records, conditions, options_.event_id});
  if (!decision) return refused(decision.error());
  return decided(*decision, true);
}

}  // namespace tailrace::cli
