#include "log/control_file.h"
#include "log/judge.h"
#include "log/log_files.h"
#include "tailrace/log.h"

namespace tailrace {

const char* to_string(Verdict verdict) noexcept {
  switch (verdict) {
    case Verdict::ok: return "ok";
    case Verdict::torn_tail: return "torn_tail";
    case Verdict::corrupt: return "corrupt";
  }
  return "?";
}

Result<VerifyReport> verify(const std::filesystem::path& path) {
  auto files = LogFiles::open(path);
  if (!files) return fail(files.error());
  auto control = ControlFile::open(*files, Access::read);
  if (!control) return fail(control.error());
  // Read before the scan: whatever a live writer had published by now must be found valid.
  const bool live = control->writer_alive();
  const Position committed = control->view().committed();
  auto judged =
      judge(*files, control->view(), live ? JudgeFrom::start_under_writer : JudgeFrom::start);
  if (!judged) return fail(judged.error());

  VerifyReport report;
  const bool damaged = judged->corrupt || (live && judged->end.position < committed);
  const bool unfinished = !judged->tail.empty();
  if (!damaged && !unfinished) {
    report.bytes = judged->bytes;
    report.records = judged->records;
    return report;
  }
  report.verdict = damaged ? Verdict::corrupt : Verdict::torn_tail;
  report.file = judged->file;
  report.offset = judged->bad_position % files->meta.segment_size_bytes;
  report.sequence = judged->bad_sequence;
  if (!damaged) {
    report.bytes = judged->tail_bytes;
    report.records = judged->tail_records;
  }
  report.detail = judged->detail;
  return report;
}

}  // namespace tailrace
