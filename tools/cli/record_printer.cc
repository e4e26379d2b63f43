#include "cli/record_printer.h"

#include <unistd.h>

#include "cli/json_write.h"
#include "cli/report.h"

namespace tailrace::cli {

RecordPrinter::RecordPrinter(const ReadOptions& options, const char* command)
    : options_(options),
      command_(command),
      style_(options.format ? Style::format
             : options.json ? Style::json
             : options.raw  ? Style::raw
                            : Style::lines),
      out_(STDOUT_FILENO) {}

void RecordPrinter::print(const RecordView& record) {
  switch (style_) {
    case Style::json: write_record(out_, record, options_.ids); break;
    case Style::format: options_.format->print(out_, record); break;
    case Style::raw: out_.put(as_text(record.payload)); break;
    case Style::lines:
      out_.put(as_text(record.payload));
      out_.put('\n');
      break;
  }
}

Exit RecordPrinter::finish(Exit exit) {
  out_.flush();
  return out_.ok() ? exit : output_failed(command_, out_.error());
}

}  // namespace tailrace::cli
