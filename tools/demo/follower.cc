#include "demo/follower.h"

#include <fmt/format.h>

#include <chrono>

#include "demo/flights.h"
#include "demo/progress.h"
#include "tailrace/clock.h"
#include "tailrace/reader.h"

namespace demo {
namespace {

using tailrace::errc;
using tailrace::Error;
using tailrace::now_ns;
using tailrace::Outcome;
using tailrace::Reader;
using tailrace::RecordView;
using tailrace::Result;

class Follower {
 public:
  Follower(Board& board, Role role, Reader& reader, Progress progress)
      : board_(board),
        part_(board.reader(role)),
        folds_(role == Role::delays),
        reader_(reader),
        file_(progress_file(board, role)),
        progress_(std::move(progress)) {}

  static std::filesystem::path progress_file(const Board& board, Role role) {
    return std::filesystem::path(board.plan.scratch.data()) /
           fmt::format("{}.progress", to_string(role));
  }

  Result<void> run() {
    const std::uint64_t last = board_.plan.events;
    RecordView record;
    while (progress_.sequence < last) {
      Outcome outcome = reader_.next(record);
      if (outcome == Outcome::end) {
        if (!live_) caught_up();
        outcome = reader_.next(record, std::chrono::milliseconds(100));
        if (outcome == Outcome::end) continue;
      }
      if (outcome != Outcome::record) return ended(outcome);
      if (auto taken = take(record); !taken) return taken;
      if (progress_.sequence % board_.plan.save_every == 0) {
        if (auto saved = save_now(); !saved) return saved;
      }
    }
    if (!live_) caught_up();
    if (auto saved = save_now(); !saved) return saved;
    post(part_.digest, progress_.digest.value());
    post(part_.finished, now_ns());
    return {};
  }

 private:
  Result<void> take(const RecordView& record) {
    // Latency counts while the pace is even and this reader is not behind from before its start.
    if (live_ && record.sequence <= board_.plan.paced_events) {
      part_.hand_over.add(now_ns() - record.timestamp_ns);
    }
    if (auto right = check(record); !right) return right;
    if (record.epoch != look(part_.epoch)) {
      post(part_.epoch_seen, now_ns());
      post(part_.epoch, record.epoch);
    }
    progress_.digest.begin(record.sequence, record.type, record.keys.size());
    for (const tailrace::KeyView key : record.keys) progress_.digest.add(key.bytes);
    progress_.digest.add(tailrace::as_text(record.payload));
    if (folds_) {
      if (auto folded = fold(record); !folded) return folded;
    }
    progress_.sequence = record.sequence;
    progress_.timestamp_ns = record.timestamp_ns;
    post(part_.sequence, record.sequence);
    return {};
  }

  [[nodiscard]] Result<void> check(const RecordView& record) const {
    if (record.sequence != progress_.sequence + 1) {
      return wrong(record, fmt::format("the record after {} has sequence {}", progress_.sequence,
                                       record.sequence));
    }
    if (record.timestamp_ns < progress_.timestamp_ns) {
      return wrong(
          record, fmt::format("time falls by {} ns", progress_.timestamp_ns - record.timestamp_ns));
    }
    return {};
  }

  [[nodiscard]] Result<void> wrong(const RecordView& record, std::string what) const {
    return fail(Error(errc::corrupt, std::move(what))
                    .path(board_.plan.log.data())
                    .sequence(record.sequence));
  }

  /// The airport comes from the record's key, the delay from its payload.
  Result<void> fold(const RecordView& record) {
    const auto text = tailrace::as_text(record.payload);
    const auto delay_min = delay_of(text);
    const auto key = record.keys.empty() ? std::string_view{} : (*record.keys.begin()).bytes;
    if (!delay_min || key.empty() || key.size() > Airport::kMaxLetters) {
      return wrong(record, fmt::format("this is no flight: {}", text));
    }
    progress_.delays[Airport(key)].add(*delay_min);
    return {};
  }

  void caught_up() {
    live_ = true;
    post(part_.caught_up_at, progress_.sequence);
    post(part_.caught_up, now_ns());
  }

  Result<void> save_now() {
    if (folds_) show_delays();
    return save(progress_, file_);
  }

  void show_delays() {
    std::size_t i = 0;
    for (const auto& [airport, delay] : progress_.delays) {
      AirportPart& part = board_.delays.at(i++);
      post(part.airport, airport.word());
      post(part.flights, delay.flights);
      post(part.sum_min, delay.sum_min);
      post(part.worst_min, delay.worst_min);
    }
    post(board_.airports, std::uint64_t{i});
  }

  [[nodiscard]] Result<void> ended(Outcome outcome) const {
    if (outcome == Outcome::closed) return fail(Error(errc::closed, "the log is gone"));
    return tailrace::fail(reader_.error());
  }

  Board& board_;
  ReaderPart& part_;
  const bool folds_;
  Reader& reader_;
  const std::filesystem::path file_;
  Progress progress_;
  bool live_ = false;
};

}  // namespace

Result<void> follow(Board& board, Role role) {
  auto progress = load_progress(Follower::progress_file(board, role));
  if (!progress) return tailrace::fail(progress.error());
  auto reader = Reader::open(
      board.plan.log.data(),
      {.follow = role == Role::durable ? tailrace::Follow::durable : tailrace::Follow::committed});
  if (!reader) return tailrace::fail(reader.error());
  if (progress->sequence != 0) {
    if (auto found = reader->seek_sequence(progress->sequence + 1); !found) return found;
  }
  ReaderPart& part = board.reader(role);
  post(part.resumed_from, progress->sequence);
  post(part.opened, now_ns());
  return Follower(board, role, *reader, std::move(*progress)).run();
}

}  // namespace demo
