#include <optional>

#include "log/control_file.h"
#include "log/journal_scan.h"
#include "log/judge.h"
#include "log/log_files.h"
#include "log/stored_keys.h"
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

namespace {

/// The journal of a log that nobody writes, if this process may read it.
Result<std::optional<JournalScan>> read_journal(const LogFiles& files) {
  auto journal = JournalFile::open_to_read(files);
  if (!journal) {
    if (journal.error().code() == errc::permission) return std::optional<JournalScan>();
    return fail(journal.error());
  }
  auto scan = scan_journal(files, *journal);
  if (!scan) return fail(scan.error());
  return std::optional<JournalScan>(std::move(*scan));
}

/// What is known without the journal.
Result<Evidence> evidence_without(const LogFiles& files, const ControlFile& control) {
  auto segments = files.list_segments();
  if (!segments) return fail(segments.error());
  Evidence evidence;
  const bool counts = control.of_this_boot() || control.view().state() == ControlState::closed;
  evidence.durable = durable_floor(files, counts ? control.view().durable() : 0, *segments);
  return evidence;
}

VerifyReport report_of(const Judgement& judged, bool damaged) {
  VerifyReport report;
  if (!damaged && judged.tail.empty()) {
    report.bytes = judged.bytes;
    report.records = judged.records;
    return report;
  }
  report.verdict = damaged ? Verdict::corrupt : Verdict::torn_tail;
  report.file = judged.file;
  report.offset = judged.bad_offset;
  report.sequence = judged.bad_sequence;
  if (!damaged) {
    report.bytes = judged.tail_bytes;
    report.records = judged.tail_records;
  }
  report.detail = judged.detail;
  return report;
}

/// Pages that share a folio with the writer's are left alone.
constexpr std::uint64_t kMaxFolioBytes = std::uint64_t{2} << 20;
constexpr int kJournalTries = 10;

/// Whether the journal of a live writer reaches as far as had been acknowledged when this began.
Result<void> check_live_journal(const LogFiles& files, const ControlFile& control,
                                VerifyReport& report) {
  for (int i = 0; i < kJournalTries; ++i) {
    const Position acknowledged = control.view().durable();
    auto journal = read_journal(files);
    if (!journal) return fail(journal.error());
    report.journal_checked = journal->has_value();
    if (!*journal) return {};
    auto again = read_journal(files);
    if (!again) return fail(again.error());
    // A ring that was written over while it was read proves nothing: once more.
    if ((*again)->anchor.generation != (*journal)->anchor.generation) continue;
    if (!(*journal)->corrupt && (*journal)->durable >= acknowledged) return {};
    report.verdict = Verdict::corrupt;
    report.file = file_name::kJournal;
    report.offset = (*journal)->end_offset;
    report.detail = (*journal)->corrupt ? (*journal)->detail
                                        : "the journal ends before what had been acknowledged";
    return {};
  }
  report.journal_checked = false;
  return {};
}

/// Whether keys/base tells of what was removed. A checkpoint is nobody's loss.
Result<void> check_keys(const LogFiles& files, const ControlFile& control, VerifyReport& report) {
  const Position first = control.view().first_retained();
  if (report.verdict == Verdict::corrupt || first == 0) return {};
  auto base = StoredKeys::open_base(files, first);
  auto whole = base ? base->view.check() : Result<void>(fail(base.error()));
  if (whole && !base->view.incomplete()) return {};
  if (!whole && control.view().first_retained() > first) return check_keys(files, control, report);
  const bool read = whole || whole.error().code() == errc::corrupt ||
                    whole.error().code() == errc::keys_incomplete;
  if (!read) return whole;
  report.verdict = Verdict::corrupt;
  report.file = std::string(file_name::kKeys) + "/" + file_name::kKeysBase;
  report.offset = !whole && whole.error().offset() != kUnknown ? whole.error().offset() : 0;
  report.sequence = 0;
  report.detail = whole ? "what an earlier base knew of keys is lost" : whole.error().what();
  return {};
}

/// A live writer's log: whatever it had published when this began must be found valid.
Result<VerifyReport> verify_live(const LogFiles& files, const ControlFile& control,
                                 const VerifyOptions& options) {
  const Position retained = control.view().first_retained();
  const Position committed = control.view().committed();
  Evidence evidence;
  evidence.durable = control.view().durable();
  if (options.deep) {
    evidence.from_disk_to =
        align_down(control.activity().get(&Activity::synced_to), kMaxFolioBytes);
  }
  auto judged = judge(files, control.view(), JudgeFrom::start_under_writer, evidence);
  const bool damaged = !judged || judged->corrupt || judged->end.position < committed;
  // Trimmed meanwhile: what was missing was not to be there any more. Once more from where it
  // begins now.
  if (damaged && control.view().first_retained() > retained) {
    return verify_live(files, control, options);
  }
  if (!judged) return fail(judged.error());
  VerifyReport report = report_of(*judged, damaged);
  if (options.deep && report.verdict == Verdict::ok) {
    if (auto done = check_live_journal(files, control, report); !done) return fail(done.error());
  }
  if (auto done = check_keys(files, control, report); !done) return fail(done.error());
  return report;
}

}  // namespace

Result<VerifyReport> verify(const std::filesystem::path& path, const VerifyOptions& options) {
  auto files = LogFiles::open(path);
  if (!files) return fail(files.error());
  auto control = ControlFile::open(*files, Access::read);
  if (!control) return fail(control.error());
  if (control->writer_alive()) return verify_live(*files, *control, options);
  auto journal = read_journal(*files);
  if (!journal) {
    if (journal.error().code() != errc::corrupt) return fail(journal.error());
    VerifyReport report;
    report.verdict = Verdict::corrupt;
    report.file = file_name::kJournal;
    report.detail = journal.error().what();
    return report;
  }
  Result<Evidence> evidence = Evidence();
  if (*journal) {
    const JournalScan& scan = **journal;
    const Position from_disk_to = options.deep ? align_down(scan.synced_to, 4096) : 0;
    evidence = Evidence{scan.durable, scan.synced_to, &scan, from_disk_to};
  } else {
    evidence = evidence_without(*files, *control);
    if (!evidence) return fail(evidence.error());
  }
  auto judged = judge(*files, control->view(), JudgeFrom::start, *evidence);
  if (!judged) return fail(judged.error());
  VerifyReport report = report_of(*judged, judged->corrupt);
  report.journal_checked = journal->has_value();
  if (auto done = check_keys(*files, *control, report); !done) return fail(done.error());
  return report;
}

}  // namespace tailrace
