#pragma once

#include <array>
#include <memory>
#include <optional>
#include <tuple>

#include "log/log_files.h"
#include "recovery/damage_model.h"

/// The log that the campaign of damage damages.
namespace tailrace::test {

inline constexpr std::uint64_t kSector = 512;
inline constexpr std::uint64_t kRegion = std::uint64_t{64} << 10;
inline constexpr std::uint64_t kJournalBytes = std::uint64_t{512} << 10;

/// Appends about `bytes` of records: small ones, batches, some with keys, a large one now and then.
inline void append_about(Writer& writer, std::uint64_t bytes, std::mt19937_64& random) {
  std::string payload(6000, '\0');
  for (char& byte : payload) byte = static_cast<char>(random());
  const std::string_view keys[] = {"user:ada", "a key that is somewhat longer than the other one"};
  const Position to = writer.committed() + bytes;
  while (writer.committed() + 100 < to) {
    const std::uint64_t left = to - writer.committed();
    const auto some = [&](std::uint64_t most) {
      const std::uint64_t size = random() % std::min(most, std::max<std::uint64_t>(1, left / 5));
      return as_bytes(std::string_view(payload).substr(random() % (payload.size() - size), size));
    };
    if (random() % 4 == 0) {
      const RecordInput batch[] = {{some(400), 1}, {some(2000), 2, keys}, {some(40), 3}};
      must(writer.append_batch(batch));
    } else if (random() % 8 == 0) {
      must(writer.append(RecordInput{some(300), 7, keys}));
    } else {
      must(writer.append(some(random() % 4 == 0 ? 6000 : 1500), 5));
    }
  }
}

/// The log's files as they are now; again if the writer renamed one of them meanwhile.
inline void remember(const TempLog& log, const std::filesystem::path& copy) {
  for (bool whole = false; !whole;) {
    try {
      copy_log(log.path(), copy);
      whole = true;
    } catch (const std::filesystem::filesystem_error&) {
    }
  }
}

/// Two epochs. The first one goes round the ring of the journal and closes. The second one leaves
/// segments 0 and 1 behind, brings a part of segment 2 into its file by a large commit, and more
/// into the journal by small ones; what it appends then is only committed when it dies. `rested`:
/// an entry that proves the last acknowledgement is there.
inline void write_log(const TempLog& log, const std::filesystem::path& copies, bool rested,
                      std::uint64_t seed) {
  std::mt19937_64 random(seed);
  WriterOptions options;
  options.sync = SyncPolicy::none;
  options.populate_ahead_bytes = std::size_t{256} << 10;
  {
    Writer writer = log.writer(options);
    while (writer.committed() < kSmallSegment + 100'000) {
      append_about(writer, 20'000, random);
      must(writer.sync());
    }
    must(writer.close());
  }
  remember(log, copies / "0");
  Writer writer = log.writer(options);
  const auto commit = [&] {
    append_about(writer, 7'600, random);
    must(writer.sync());
  };
  for (int i = 0; i < 8; ++i) commit();
  remember(log, copies / "1");
  while (writer.committed() < 2 * kSmallSegment + kRegion + 40'000) {
    append_about(writer, 50'000, random);
  }
  must(writer.sync());
  while (!std::filesystem::exists(log.segment(3 * kSmallSegment))) ::usleep(1000);  // prepared
  for (int i = 0; i < 10; ++i) {
    commit();
    if (i == 5) remember(log, copies / "2");
  }
  if (rested) ::usleep(300'000);
  append_about(writer, kRegion + 10'000, random);
  die();
}

/// A change of the files, and how to take it back.
struct Patch {
  std::size_t file = 0;  // a segment's number, or kJournalFile
  std::uint64_t offset = 0;
  std::string bytes;
};
inline constexpr std::size_t kJournalFile = 99;

/// A part of a file that is to be damaged.
struct Place {
  const char* name;
  std::size_t file;
  std::uint64_t from;
  std::uint64_t to;
};

/// What the crash was. In each, control.durable is as the writer left it, or much older.
enum class Crash : std::uint8_t { killed, rebooted, pages_lost, all_lost_and_old_control };
inline constexpr std::array kCrashes = {Crash::killed, Crash::rebooted, Crash::pages_lost,
                                        Crash::all_lost_and_old_control};

/// A log that has crashed, the model of it, and the places in which it can be damaged.
class CrashedLog : public ::testing::TestWithParam<std::tuple<bool, Crash>> {
 protected:
  static void SetUpTestSuite() { use_memory_disk(); }

  [[nodiscard]] static bool rested() { return std::get<0>(GetParam()); }
  [[nodiscard]] static Crash crash() { return std::get<1>(GetParam()); }

  void SetUp() override {
    for (int attempt = 0; attempt < 20 && !model_; ++attempt) {
      log_ = std::make_unique<TempLog>(kSmallSegment, kJournalBytes);
      ASSERT_TRUE(killed_after([&] { write_log(*log_, copies_.path(), rested(), run_seed()); }));
      for (const char* const copy : {"0", "1", "2"}) {
        earlier_.push_back(Images::of(copies_.path() / copy));
      }
      const auto files = must(LogFiles::open(log_->path()));
      model_.emplace(Images::of(log_->path()), files.meta, earlier_);
      now_ = model_->written();
      const Expected found = model_->judge(now_, DamageModel::From::start);
      durable_ = found.durable;
      synced_to_ = found.synced_to;
      // A slow machine gives the writer time to prove the last acknowledgement, or not enough; and
      // its syncer, pressed for room in the journal, takes in the page that is being written, or
      // has not come as far as the places that are damaged need.
      const bool proven = model_->entries().rbegin()->second.header.length == 0;
      const bool far = synced_to_ > 2 * kSmallSegment + kRegion;
      if (proven == rested() && far && synced_to_ % kJournalBlockBytes == 0) break;
      model_.reset();
      earlier_.clear();
    }
    ASSERT_TRUE(model_);
    ASSERT_EQ(durable_, now_.acknowledged);
    ASSERT_GT(synced_to_, 2 * kSmallSegment + kRegion);
    ASSERT_GT(durable_, synced_to_ + kRegion);
    ASSERT_GT(model_->end(), durable_ + kRegion);
    ASSERT_EQ(now_.segments.size(), 4u) << "the next segment should be prepared";
    let_it_crash();
    find_places();
  }

  void let_it_crash() {
    if (crash() != Crash::killed) reboot(path());
    if (crash() == Crash::pages_lost || crash() == Crash::all_lost_and_old_control) {
      for (Position page = synced_to_; page < 3 * kSmallSegment; page += 4096) {
        if (crash() == Crash::pages_lost && random_() % 2 == 0) continue;
        put({2, page % kSmallSegment, std::string(4096, '\0')});
      }
    }
    if (crash() == Crash::all_lost_and_old_control) {
      now_.acknowledged = synced_to_;
      set_control_durable(path(), synced_to_);
    }
  }

  void find_places() {
    const std::uint64_t synced = synced_to_ % kSmallSegment;
    const std::uint64_t durable = durable_ % kSmallSegment;
    const std::uint64_t end = model_->end() % kSmallSegment;
    places_ = {{"sealed segment, its begin", 0, 0, kRegion},
               {"sealed segment, its end", 0, kSmallSegment - kRegion, kSmallSegment},
               {"sealed segment, where the epoch changed", 1, 80'000, 80'000 + kRegion},
               {"active segment, synced", 2, 0, kRegion},
               {"active segment, in the journal", 2, synced, synced + kRegion},
               {"active segment, committed only", 2, durable, durable + kRegion},
               {"active segment, behind the end", 2, end, end + kRegion},
               {"prepared segment", 3, 0, kRegion},
               {"journal, anchors", kJournalFile, 0, kJournalRingAt}};
    const TrueEntry* first_needed = nullptr;
    const TrueEntry* last = nullptr;
    for (const auto& [number, entry] : model_->entries()) {
      if (entry.end() > synced_to_ && first_needed == nullptr) first_needed = &entry;
      if (entry.header.length > 0) last = &entry;
    }
    const std::uint64_t used = model_->entries().rbegin()->second.offset + kJournalBlockBytes;
    ASSERT_LT(first_needed->offset, last->offset) << "the ring should not have been wrapped here";
    places_.push_back({"journal, what is synced", kJournalFile, kJournalRingAt,
                       std::min(first_needed->offset, kJournalRingAt + kRegion)});
    places_.push_back({"journal, what is needed", kJournalFile, first_needed->offset,
                       std::min(last->offset, first_needed->offset + kRegion)});
    places_.push_back({"journal, the last entry", kJournalFile, last->offset,
                       last->offset + entry_span(last->header.length)});
    if (rested()) {
      places_.push_back({"journal, the proof", kJournalFile, used - kJournalBlockBytes, used});
    }
    places_.push_back({"journal, unused", kJournalFile, used + kJournalBlockBytes,
                       used + kJournalBlockBytes + kRegion});
    ASSERT_LE(places_.back().to, kJournalBytes);
  }

  // --- the files and their images ---

  [[nodiscard]] std::filesystem::path path() const { return log_->path(); }
  [[nodiscard]] std::filesystem::path file_path(std::size_t file) const {
    return file == kJournalFile ? path() / "journal" : log_->segment(file * kSmallSegment);
  }
  [[nodiscard]] std::string& image(std::size_t file) {
    return file == kJournalFile ? now_.journal : now_.segments.at(file);
  }

  /// Changes file and image; returns what undoes it.
  Patch put(const Patch& patch) {
    std::string& bytes = image(patch.file);
    Patch undo{patch.file, patch.offset, bytes.substr(patch.offset, patch.bytes.size())};
    bytes.replace(patch.offset, patch.bytes.size(), patch.bytes);
    const int fd = ::open(file_path(patch.file).c_str(), O_WRONLY | O_CLOEXEC);
    EXPECT_EQ(
        ::pwrite(fd, patch.bytes.data(), patch.bytes.size(), static_cast<off_t>(patch.offset)),
        static_cast<ssize_t>(patch.bytes.size()));
    ::close(fd);
    return undo;
  }

  [[nodiscard]] std::string sector(std::size_t file, std::uint64_t number) {
    return image(file).substr(number * kSector, kSector);
  }

  std::unique_ptr<TempLog> log_;
  TempDir copies_;
  std::vector<Images> earlier_;
  std::optional<DamageModel> model_;
  Images now_;
  Position durable_ = 0;    // D, before any damage
  Position synced_to_ = 0;  // T
  std::vector<Place> places_;
  std::mt19937_64 random_{run_seed()};
};

}  // namespace tailrace::test
