// labels: slow
// Every kind of damage in every place of a log that kill -9 or a power cut has left: the verdict
// names the place, what had been acknowledged is repaired from the journal or its loss is refused,
// and nothing else happens. What must be found is computed by damage_model.h, which knows which
// bytes matter and nothing of how the engine checks them.
//
// The one loss that is allowed: after a reboot, when the disk has an older page of `control`, the
// journal's last entry has no witness. What it alone held is gone then, like something torn.
//
// TAILRACE_LONG=1: every bit of 64 KiB in each place, every length in it. docs/testing.md

#include <gmock/gmock.h>

#include "recovery/crashed_log.h"

namespace tailrace::test {
namespace {

class DamageCampaign : public CrashedLog {
 protected:
  void SetUp() override {
    CrashedLog::SetUp();
    ASSERT_FALSE(HasFailure());
    const Expected undamaged = model_->judge(now_, DamageModel::From::start);
    expect_found("undamaged");
    ASSERT_NE(undamaged.verdict, Verdict::corrupt);
    ASSERT_GE(undamaged.end, durable_);
  }

  void with_patches(const std::vector<Patch>& patches, const std::string& what) {
    std::vector<Patch> undo;
    for (const Patch& patch : patches) undo.push_back(put(patch));
    trial(what);
    for (auto patch = undo.rbegin(); patch != undo.rend(); ++patch) put(*patch);
  }

  void truncated(std::size_t file, std::uint64_t length) {
    std::string& bytes = image(file);
    const std::uint64_t size = bytes.size();
    const std::string cut = bytes.substr(length);
    bytes.resize(length);
    std::filesystem::resize_file(file_path(file), length);
    trial("cut to " + std::to_string(length) + " bytes");
    std::filesystem::resize_file(file_path(file), size);
    bytes.resize(size);
    const auto from = cut.find_first_not_of('\0');
    if (from != std::string::npos) put({file, length + from, cut.substr(from)});
  }

  // --- one trial ---

  void trial(const std::string& what) {
    ++trials_;
    expect_found(what);
    if (random_() % open_one_in_ == 0) expect_opened(what);
  }

  /// How many of the newest entries hold damage.
  [[nodiscard]] std::uint64_t damaged_newest() const {
    std::uint64_t count = 0;
    for (auto entry = model_->entries().rbegin(); entry != model_->entries().rend(); ++entry) {
      if (model_->entry_right(now_, entry->second)) break;
      ++count;
    }
    return count;
  }
  /// Up to where everything acknowledged must be there, unless its loss is refused.
  [[nodiscard]] Position must_be_there() const {
    const std::uint64_t damaged = damaged_newest();
    if (crash() != Crash::all_lost_and_old_control || damaged == 0) return durable_;
    const auto last = std::prev(model_->entries().end(), static_cast<std::ptrdiff_t>(damaged));
    return std::max(last->second.header.position, synced_to_);
  }

  /// verify() says what the model says, and that is never a silent end.
  void expect_found(const std::string& what) {
    const Expected expected = model_->judge(now_, DamageModel::From::start);
    const auto report = verify(path());
    ASSERT_TRUE(report) << where_ << what << ": " << report.error().message();
    const auto names = [&](const auto& file, auto offset, auto sequence, auto bytes, auto records) {
      return file + "+" + std::to_string(offset) + ", sequence " + std::to_string(sequence) + ", " +
             std::to_string(bytes) + " bytes, " + std::to_string(records) + " records";
    };
    const bool ok = expected.verdict == Verdict::ok;
    const std::string wanted = names(ok ? std::string() : expected.file, ok ? 0 : expected.offset,
                                     ok ? 0 : expected.sequence, expected.bytes, expected.records);
    ASSERT_EQ(report->verdict, expected.verdict)
        << where_ << what << ": wanted " << wanted << ", found " << report->detail;
    ASSERT_EQ(names(report->file, report->offset, report->sequence, report->bytes, report->records),
              wanted)
        << where_ << what << ": " << report->detail;
    if (report->verdict == Verdict::corrupt) {
      ++refused_;
    } else {
      const Sequence next = ok ? report->records + 1 : report->sequence;
      ASSERT_GE(next, model_->sequence_at(must_be_there())) << where_ << what << ": a silent end";
      // A swap of two sectors may hit both the last entry and the empty one that proves it.
      const bool proof_as_well = rested() && damaged_newest() > 1;
      if (next < model_->sequence_at(durable_) && !proof_as_well) ++allowed_losses_;
    }
  }

  /// Opening a copy for writing repairs everything that had been acknowledged, or changes nothing.
  void expect_opened(const std::string& what) {
    SCOPED_TRACE(where_ + what);
    ++opened_;
    const auto copy = copies_.path() / "opened";
    copy_log(path(), copy);
    const Expected expected = model_->judge(now_, DamageModel::From::synced);
    const Expected all = model_->judge(now_, DamageModel::From::start);
    const Files before = all_files(copy);
    {
      auto writer = Writer::open(copy);
      if (expected.verdict == Verdict::corrupt) {
        ASSERT_FALSE(writer) << "opened, " << writer->recovery().torn_bytes << " bytes cut";
        EXPECT_EQ(writer.error().code(), errc::corrupt) << writer.error().message();
        EXPECT_EQ(writer.error().path(), copy / expected.file);
        const bool cut = now_.journal.size() < kJournalBytes;  // no place in it
        EXPECT_EQ(writer.error().offset(), cut ? kUnknown : expected.offset);
        EXPECT_EQ(writer.error().sequence(), cut ? kUnknown : expected.sequence);
        EXPECT_THAT(differences(before, all_files(copy)), ::testing::IsEmpty());
        return;
      }
      ASSERT_TRUE(writer) << writer.error().message();
      const Recovery& recovery = writer->recovery();
      EXPECT_EQ(recovery.end, expected.end);
      EXPECT_EQ(recovery.last_sequence, expected.next - 1);
      const bool torn = expected.verdict == Verdict::torn_tail;
      EXPECT_EQ(recovery.torn_bytes, torn ? expected.bytes : 0);
      EXPECT_EQ(recovery.torn_records, torn ? expected.records : 0);
      EXPECT_GE(recovery.end, must_be_there());
      must(writer->append(as_bytes("on")));
      must(writer->close());
    }
    expect_readable(copy, all.verdict == Verdict::corrupt ? all.next - 1 : expected.next,
                    all.verdict);
  }

  /// `last` records are there, each as it was written.
  void expect_readable(const std::filesystem::path& log, Sequence last, Verdict verdict) const {
    const bool corrupt = verdict == Verdict::corrupt;
    EXPECT_EQ(must(verify(log)).verdict, corrupt ? Verdict::corrupt : Verdict::ok);
    Reader reader = must(Reader::open(log));
    RecordView record;
    Outcome outcome{};
    Sequence read = 0;
    auto frame = model_->frames().begin();
    while ((outcome = reader.next(record)) == Outcome::record) {
      ++read;
      if (!corrupt && read == last) continue;  // "on"
      while (!DamageModel::is_record(*frame)) ++frame;
      ASSERT_EQ(record.position, frame->position);
      ASSERT_EQ(record.sequence, frame->sequence);
      const std::string& segment = model_->written().segments[frame->position / kSmallSegment];
      const std::uint64_t payload_at =
          frame->position % kSmallSegment + frame->size - record.payload.size();
      ASSERT_EQ(as_text(record.payload), segment.substr(payload_at, record.payload.size()));
      ++frame;
    }
    EXPECT_EQ(outcome, corrupt ? Outcome::corrupt : Outcome::end);
    EXPECT_EQ(read, last);
  }

  // --- kinds of damage ---

  void flip(const Place& place, std::uint64_t bit) {
    const std::uint64_t offset = place.from + bit / 8;
    const char byte = static_cast<char>(image(place.file)[offset] ^ (1 << bit % 8));
    with_patches({{place.file, offset, std::string(1, byte)}},
                 "bit " + std::to_string(bit % 8) + " of byte " + std::to_string(offset));
  }
  void zero(const Place& place, std::uint64_t number) {
    with_patches({{place.file, number * kSector, std::string(kSector, '\0')}},
                 "sector " + std::to_string(number) + " zeroed");
  }
  void swap(const Place& place, std::uint64_t number, const Place& other_place,
            std::uint64_t other) {
    with_patches({{place.file, number * kSector, sector(other_place.file, other)},
                  {other_place.file, other * kSector, sector(place.file, number)}},
                 "sector " + std::to_string(number) + " swapped with sector " +
                     std::to_string(other) + " of " + other_place.name);
  }
  void age(const Place& place, std::uint64_t number, std::size_t when) {
    const Images& then = earlier_[when];
    if (place.file != kJournalFile && place.file >= then.segments.size()) return;
    const std::string& bytes =
        place.file == kJournalFile ? then.journal : then.segments[place.file];
    with_patches({{place.file, number * kSector, bytes.substr(number * kSector, kSector)}},
                 "sector " + std::to_string(number) + " as it was at time " + std::to_string(when));
  }

  /// Calls `what` with each of [from, to), or with about `few` of them drawn from equal parts.
  template <class What>
  void each(std::uint64_t from, std::uint64_t to, std::uint64_t few, What what) {
    const std::uint64_t all = to - from;
    const std::uint64_t steps = long_ ? all : std::min(all, few);
    for (std::uint64_t i = 0; i < steps && !HasFatalFailure(); ++i) {
      const std::uint64_t low = all * i / steps;
      const std::uint64_t high = all * (i + 1) / steps;
      what(from + low + random_() % (high - low));
    }
  }

  void damage_all(const Place& place) {
    where_ = std::string(place.name) + ", ";
    const std::uint64_t first = place.from / kSector;
    const std::uint64_t behind = (place.to + kSector - 1) / kSector;
    each(0, (place.to - place.from) * 8, 50, [&](std::uint64_t bit) { flip(place, bit); });
    each(first, behind, 16, [&](std::uint64_t number) { zero(place, number); });
    each(first, behind, 16, [&](std::uint64_t number) {
      const Place& other = random_() % 2 == 0 ? place : places_[random_() % places_.size()];
      const std::uint64_t low = other.from / kSector;
      swap(place, number, other, low + random_() % ((other.to + kSector - 1) / kSector - low));
    });
    for (std::size_t when = 0; when < earlier_.size(); ++when) {
      each(first, behind, 8, [&](std::uint64_t number) { age(place, number, when); });
    }
    each(place.from, place.to, 16, [&](std::uint64_t length) { truncated(place.file, length); });
  }

  const bool long_ = times(1) > 1;
  std::uint64_t open_one_in_ = long_ ? 5000 : 100;
  std::string where_;
  std::uint64_t trials_ = 0;
  std::uint64_t opened_ = 0;
  std::uint64_t refused_ = 0;
  std::uint64_t allowed_losses_ = 0;
};

TEST_P(DamageCampaign, EveryDamageIsRepairedOrNamed) {
  for (const Place& place : places_) {
    damage_all(place);
    ASSERT_FALSE(HasFatalFailure());
  }
  where_ = "both anchors, ";
  with_patches(
      {{kJournalFile, random_() % 4096, "x"}, {kJournalFile, 4096 + random_() % 4096, "x"}},
      "damaged");
  ASSERT_EQ(now_.journal.size(), kJournalBytes);
  std::printf("%llu trials: %llu found corrupt, %llu lost the last entry alone, %llu opened\n",
              static_cast<unsigned long long>(trials_), static_cast<unsigned long long>(refused_),
              static_cast<unsigned long long>(allowed_losses_),
              static_cast<unsigned long long>(opened_));
  EXPECT_GT(refused_, 0u);
  EXPECT_GT(opened_, 0u);
  EXPECT_EQ(allowed_losses_ > 0, crash() == Crash::all_lost_and_old_control && !rested());
}

TEST_P(DamageCampaign, EveryLengthOfEveryFile) {
  if (crash() != Crash::killed && !long_) GTEST_SKIP() << "with TAILRACE_LONG";
  open_one_in_ = 400;
  for (const std::size_t file :
       {std::size_t{0}, std::size_t{1}, std::size_t{2}, std::size_t{3}, kJournalFile}) {
    where_ = "file " + std::to_string(file) + ", ";
    // In the short form each of the two logs takes half of them. Every byte: damage_all().
    const std::uint64_t step = long_ ? kSector : 2 * kSector;
    for (std::uint64_t length = rested() && !long_ ? kSector : 0; length < image(file).size();
         length += step) {
      truncated(file, length);
      ASSERT_FALSE(HasFatalFailure());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Logs, DamageCampaign,
                         ::testing::Combine(::testing::Bool(), ::testing::ValuesIn(kCrashes)));

}  // namespace
}  // namespace tailrace::test
