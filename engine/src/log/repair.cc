#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "file/process.h"
#include "log/control_file.h"
#include "log/judge.h"
#include "log/overlay.h"
#include "log/recovery.h"
#include "log/repair_keys.h"
#include "log/tail.h"
#include "log/writer_lock.h"
#include "tailrace/log.h"

namespace tailrace {
namespace {

/// A log that is going to be repaired, both locks held.
struct Patient {
  LogFiles files;
  Fd lock;
  std::optional<JournalFile> journal;  // none: missing or cut off
  std::optional<ControlFile> control;
  JournalScan scan;
  Judgement judged;
};

/// The journal, as far as there is one. What it cannot say is made up from the segments.
Result<void> examine_journal(Patient& patient) {
  auto journal = JournalFile::open_locked(patient.files, Direct::no, std::chrono::milliseconds(0));
  if (!journal) {
    if (journal.error().code() != errc::corrupt) return fail(journal.error());
    patient.scan.corrupt = true;
    patient.scan.detail = journal.error().what();
    return {};
  }
  patient.journal = std::move(*journal);
  auto scan = scan_journal(patient.files, *patient.journal);
  if (!scan) return fail(scan.error());
  patient.scan = std::move(*scan);
  return {};
}

/// Where neither the journal nor `control` is left to say where the log begins, the oldest file
/// does.
Result<void> guess_retained(Patient& patient) {
  const bool told =
      patient.scan.anchor.generation != 0 || patient.control->view().writer().epoch != 0;
  if (told) return {};
  auto segments = patient.files.list_segments();
  if (!segments) return fail(segments.error());
  if (segments->empty()) return {};
  patient.scan.anchor.first_retained = patient.files.base_of(segments->front());
  return {};
}

Result<Patient> examine(const std::filesystem::path& path) {
  auto files = LogFiles::open(path);
  if (!files) return fail(files.error());
  auto lock = take_writer_lock(*files, std::chrono::milliseconds(0));
  if (!lock) return fail(lock.error());
  Patient patient{std::move(*files), std::move(*lock), {}, {}, {}, {}};
  if (auto done = examine_journal(patient); !done) return fail(done.error());
  auto control = ControlFile::open_or_remake(patient.files);
  if (!control) return fail(control.error());
  patient.control = std::move(*control);
  if (auto done = guess_retained(patient); !done) return fail(done.error());
  const Evidence evidence{patient.scan.durable, patient.scan.synced_to, &patient.scan, 0};
  auto judged = judge(patient.files, patient.control->view(), JudgeFrom::start, evidence);
  if (!judged) return fail(judged.error());
  patient.judged = std::move(*judged);
  return patient;
}

Position retained_by(const Patient& patient) {
  return std::max(patient.control->view().first_retained(), patient.scan.anchor.first_retained);
}

/// The highest sequence that anything behind the cut speaks of; 0 = nothing does.
Result<Sequence> last_known(const Patient& patient) {
  const LogFiles& files = patient.files;
  auto segments = files.list_segments();
  if (!segments) return fail(segments.error());
  Sequence last = 0;
  for (const std::uint64_t number : *segments) {
    if (files.base_of(number) <= patient.judged.end.position) continue;
    auto segment = open_overlaid(files, number, &patient.scan);
    if (!segment) return fail(segment.error());
    if (!segment->header) continue;
    SegmentWalk walk(segment->mapping.data(), segment->mapping.size(), files.meta,
                     cursor_at(*segment->header));
    std::vector<IndexMark> ignored;
    static_cast<void>(walk_and_mark(walk, ignored));
    last = std::max(last, walk.at().sequence - 1);
  }
  return last < patient.judged.end.sequence ? 0 : last;
}

Result<RepairPlan> plan_for(const Patient& patient) {
  const Judgement& judged = patient.judged;
  RepairPlan plan;
  if (!judged.corrupt) return plan;
  plan.damage.verdict = Verdict::corrupt;
  plan.damage.file = judged.file;
  plan.damage.offset = judged.bad_offset;
  plan.damage.sequence = judged.bad_sequence;
  plan.damage.detail = judged.detail;
  plan.cut_at = judged.end.position;
  plan.first_lost = judged.end.sequence;
  const Position retained = retained_by(patient);
  if (retained > 0 && plan.cut_at <= retained) {
    // Nothing says which sequence the log would have to go on with.
    return fail(Error(errc::corrupt, "the oldest retained segment is damaged: " + judged.detail)
                    .path(patient.files.root.path_of(judged.file))
                    .offset(judged.bad_offset)
                    .next("nothing was changed; restore the log from a backup"));
  }
  auto last = last_known(patient);
  if (!last) return fail(last.error());
  plan.last_lost = *last;
  auto segments = patient.files.list_segments();
  if (!segments) return fail(segments.error());
  plan.segments = static_cast<std::uint64_t>(std::count_if(
      segments->begin(), segments->end(),
      [&](std::uint64_t number) { return patient.files.base_of(number) >= plan.cut_at; }));
  return plan;
}

/// Later segments go into salvage/ as they are, the last first: a gap never looks like an end.
Result<void> move_segments(const Patient& patient, const Directory& salvage, Epoch epoch) {
  const LogFiles& files = patient.files;
  auto segments = files.list_segments();
  if (!segments) return fail(segments.error());
  for (auto number = segments->rbegin(); number != segments->rend(); ++number) {
    if (files.base_of(*number) < patient.judged.end.position) break;
    const std::string name = files.segment_name(*number);
    const std::string aside = fmt::format("{:020}-epoch-{}.seg", files.base_of(*number), epoch);
    if (::renameat(files.segments.fd(), name.c_str(), salvage.fd(), aside.c_str()) != 0) {
      return fail(sys_error("cannot move a segment aside", files.segments.path_of(name), errno));
    }
    if (auto done = files.segments.remove(files.index_name(*number)); !done) return done;
  }
  if (auto done = salvage.sync(); !done) return done;
  return files.segments.sync();
}

Result<void> keep_journal(const Patient& patient, const Directory& salvage, Epoch epoch) {
  if (!patient.journal) return {};
  const std::string name = fmt::format("journal-epoch-{}", epoch);
  if (salvage.exists(name)) return {};  // of a repair that died later on
  const std::uint64_t size = patient.files.meta.journal_size_bytes;
  std::vector<std::byte> bytes(size);
  auto got = read_some(patient.journal->fd(), bytes.data(), size, 0, patient.journal->path());
  if (!got) return fail(got.error());
  if (auto done = write_file(salvage, name, bytes.data(), *got, 0600); !done) return done;
  return salvage.sync();
}

/// An empty journal that says that everything below the cut is in the segments.
Result<void> replace_journal(const Patient& patient, Epoch epoch) {
  const Directory& root = patient.files.root;
  const std::string beside = std::string(file_name::kJournal) + ".new";
  if (auto done = root.remove(beside); !done) return done;
  if (auto done = JournalFile::create(root, beside, patient.files.meta,
                                      {retained_by(patient), patient.judged.end.position}, epoch);
      !done) {
    return done;
  }
  // Locked before it has its name, and until it is over, so that nobody gets in between.
  auto file = root.open_file(beside, O_RDWR);
  if (!file) return fail(file.error());
  auto won = lock_file(file->get(), 0, root.path_of(beside));
  if (!won) return fail(won.error());
  if (auto done = root.rename(beside, file_name::kJournal); !done) return done;
  return root.sync();
}

Result<std::string> operate(Patient& patient) {
  const ControlView control = patient.control->view();
  Judgement& judged = patient.judged;
  const Epoch epoch =
      std::max({judged.end.epoch, control.writer().epoch, patient.scan.anchor.epoch}) + 1;
  control.set_generation(control.generation() | 1);
  auto salvage = open_salvage(patient.files);
  if (!salvage) return fail(salvage.error());
  if (auto done = keep_journal(patient, *salvage, epoch); !done) return fail(done.error());
  if (auto done = move_segments(patient, *salvage, epoch); !done) return fail(done.error());
  auto segments = patient.files.list_segments();
  if (!segments) return fail(segments.error());
  if (auto done = find_tail(patient.files, *segments, judged); !done) return fail(done.error());
  if (!judged.tail.empty()) {
    if (auto saved = save_tail(patient.files, judged, epoch); !saved) return fail(saved.error());
  }
  // All of the last segment again: what lies below synced_to was right, but the zeros behind the
  // cut must get there too.
  judged.synced_to = std::min(judged.synced_to, judged.end.position - 1);
  if (judged.end.position > 0) {
    if (auto done = settle(patient.files, judged, patient.scan); !done) return fail(done.error());
  }
  if (auto done = replace_journal(patient, epoch); !done) return fail(done.error());
  control.set_first_retained(retained_by(patient));
  control.set_state(ControlState::none);
  control.set_committed(judged.end.position);
  control.set_durable(judged.end.position);
  control.set_generation(control.generation() + 1);
  patient.control->flush();
  return std::string(file_name::kSalvage);
}

bool same(const RepairPlan& a, const RepairPlan& b) {
  return a.cut_at == b.cut_at && a.first_lost == b.first_lost && a.last_lost == b.last_lost;
}

}  // namespace

Result<RepairPlan> plan_repair(const std::filesystem::path& path) {
  auto patient = examine(path);
  if (!patient) return fail(patient.error());
  auto plan = plan_for(*patient);
  if (!plan || plan->damage.verdict == Verdict::corrupt) return plan;
  if (auto done = examine_keys(patient->files, retained_by(*patient), *plan); !done) {
    return fail(std::move(done.error()));
  }
  return plan;
}

Result<std::string> repair(const std::filesystem::path& path, const RepairPlan& plan) {
  auto patient = examine(path);
  if (!patient) return fail(patient.error());
  auto now = plan_for(*patient);
  if (!now) return fail(now.error());
  if (now->damage.verdict != Verdict::corrupt || !same(*now, plan)) {
    return fail(Error(errc::invalid_argument, "the log is not as it was when this was planned")
                    .path(patient->files.root.path())
                    .next("look again: tailrace repair " + patient->files.root.path()));
  }
  return operate(*patient);
}

}  // namespace tailrace
