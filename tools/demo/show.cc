#include "demo/show.h"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <ctime>

#include "demo/text.h"
#include "tailrace/clock.h"

namespace demo {
namespace {

using tailrace::errc;
using tailrace::Error;
using tailrace::now_ns;
using tailrace::Result;

// When things happen, as shares of the paced part.
constexpr double kKillReaderAt = 0.30;
constexpr double kReaderStaysDeadFor = 0.10;
constexpr double kKillWriterAt = 0.60;

constexpr std::int64_t kBeatNs = 5'000'000;
constexpr std::int64_t kRemarkNs = 2'000'000'000;     // else nobody could read it
constexpr std::int64_t kPatienceNs = 20'000'000'000;  // without any movement

volatile std::sig_atomic_t signal_seen = 0;

extern "C" void remember_signal(int number) { signal_seen = number; }

}  // namespace

void catch_signals() {
  struct sigaction action {};
  action.sa_handler = remember_signal;
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) {
    ::sigaction(number, &action, nullptr);
  }
}

int caught_signal() { return signal_seen; }

Result<void> Show::run() {
  began_ = moved_ = now_ = now_ns();
  for (const Role role : kReaders) {
    if (auto started = start(role); !started) return started;
  }
  if (auto started = start(Role::writer); !started) return started;
  note("three readers sleep at the end of an empty log; the writer opens it");
  while (act_ != Act::over) {
    const timespec beat{0, kBeatNs};
    ::clock_nanosleep(CLOCK_MONOTONIC, 0, &beat, nullptr);
    now_ = now_ns();
    if (caught_signal() != 0) return fail(Error(errc::closed, "interrupted"));
    if (auto well = look_after_children(); !well) return well;
    if (auto moves = look_for_movement(); !moves) return moves;
    if (auto done = advance(); !done) return done;
    view_.show(scene());
  }
  view_.close(scene());
  return {};
}

Result<void> Show::start(Role role) {
  auto started = Child::start(role, board_.fd());
  if (!started) return tailrace::fail(started.error());
  child(role) = std::move(*started);
  return {};
}

Result<void> Show::advance() {
  ReaderPart& reader = board_->reader(Role::delays);
  const WriterPart& writer = board_->writer;
  switch (act_) {
    case Act::kill_reader:
      if (!paced_share_done(kKillReaderAt)) break;
      child(Role::delays)->kill_now();
      child(Role::delays).reset();
      accidents_.reader_killed = now_;
      accidents_.reader_killed_at = look(reader.sequence);
      note(fmt::format("killing reader delays (SIGKILL) at {}", grouped(look(reader.sequence))),
           Mood::dead);
      act_ = Act::start_reader;
      break;
    case Act::start_reader:
      if (!paced_share_done(kKillReaderAt + kReaderStaysDeadFor)) break;
      post(reader.caught_up, std::int64_t{0});
      post(reader.opened, std::int64_t{0});
      accidents_.reader_started = now_ns();
      if (auto started = start(Role::delays); !started) return started;
      act_ = Act::reader_catches_up;
      break;
    case Act::reader_catches_up:
      if (look(reader.caught_up) != 0) reader_has_caught_up();
      break;
    case Act::kill_writer:
      if (paced_share_done(kKillWriterAt)) return kill_writer();
      break;
    case Act::writer_opens:
      if (look(writer.epoch) == old_epoch_) break;
      post(board_->writer.burst_allowed, std::uint64_t{1});
      act_ = Act::writer_is_seen;
      break;
    case Act::writer_is_seen:
      if (look(board_->reader(Role::committed).epoch) > old_epoch_) writer_has_been_seen();
      break;
    case Act::burst_begins:
      if (look(writer.burst_began) == 0) break;
      note(fmt::format("no pace any more: {} events as fast as they go",
                       grouped(board_->plan.events - board_->plan.paced_events)));
      act_ = Act::burst_ends;
      break;
    case Act::burst_ends:
      if (look(writer.burst_ended) == 0) break;
      note(fmt::format("the writer took {}",
                       duration(look(writer.burst_ended) - look(writer.burst_began))));
      act_ = Act::readers_finish;
      break;
    case Act::readers_finish:
      if (std::any_of(children_.begin(), children_.end(), [](const auto& c) { return !!c; })) break;
      note("everybody has read everything", Mood::done);
      act_ = Act::over;
      break;
    case Act::over: break;
  }
  return {};
}

Result<void> Show::kill_writer() {
  old_epoch_ = look(board_->writer.epoch);
  accidents_.writer_killed = now_ns();
  const bool killed = child(Role::writer)->kill_now();
  accidents_.writer_killed_at = look(board_->writer.sequence);
  if (!killed) return fail(Error(errc::closed, "the writer ended before it could be killed"));
  note(fmt::format("killing the writer (SIGKILL) at {}", grouped(accidents_.writer_killed_at)),
       Mood::dead);
  act_ = Act::writer_opens;
  return start(Role::writer);
}

void Show::reader_has_caught_up() {
  const ReaderPart& reader = board_->reader(Role::delays);
  const std::uint64_t from = look(reader.resumed_from);
  note(fmt::format("reader delays is back: {} records from {} on, read in {}",
                   grouped(look(reader.caught_up_at) - from), grouped(from + 1),
                   duration(look(reader.caught_up) - accidents_.reader_started)),
       Mood::done);
  act_ = Act::kill_writer;
}

void Show::writer_has_been_seen() {
  const std::int64_t took =
      look(board_->reader(Role::committed).epoch_seen) - accidents_.writer_killed;
  note(fmt::format("writer is back after {}, goes on with {}", duration(took),
                   grouped(look(board_->writer.resumed_from) + 1)),
       Mood::done);
  writer_back_ = now_;
  writer_remark_ = fmt::format("back after {}", duration(took));
  act_ = Act::burst_begins;
}

/// Who ends on its own must have done its part.
Result<void> Show::look_after_children() {
  for (std::size_t i = 0; i < children_.size(); ++i) {
    if (!children_.at(i)) continue;
    const auto status = children_.at(i)->poll();
    if (!status) continue;
    children_.at(i).reset();
    if (*status == 0) continue;
    const auto role = static_cast<Role>(i);
    const auto& said = role == Role::writer ? board_->writer.error : board_->reader(role).error;
    const std::string name =
        role == Role::writer ? "the writer" : fmt::format("reader {}", to_string(role));
    return fail(
        Error(errc::closed, fmt::format("{} ended with {}{}{}", name, describe_status(*status),
                                        said[0] != '\0' ? ": " : "", said.data())));
  }
  return {};
}

Result<void> Show::look_for_movement() {
  std::uint64_t sum = look(board_->writer.sequence);
  for (const Role role : kReaders) sum += look(board_->reader(role).sequence);
  if (sum != moved_sum_) {
    moved_sum_ = sum;
    moved_ = now_;
  }
  if (now_ - moved_ < kPatienceNs) {
    while (!samples_.empty() && now_ - samples_.front().when > 1'000'000'000) samples_.pop_front();
    samples_.push_back({now_, look(board_->writer.sequence)});
    return {};
  }
  return fail(
      Error(errc::timed_out, fmt::format("nothing has moved for {}: writer at {}, readers "
                                         "at {} (committed), {} (durable), {} (delays)",
                                         duration(kPatienceNs), look(board_->writer.sequence),
                                         look(board_->reader(Role::committed).sequence),
                                         look(board_->reader(Role::durable).sequence),
                                         look(board_->reader(Role::delays).sequence))));
}

void Show::note(std::string text, Mood mood) {
  notes_.push_back({static_cast<double>(now_ - began_) / 1e9, mood, std::move(text)});
}

bool Show::paced_share_done(double share) const {
  return static_cast<double>(look(board_->writer.sequence)) >=
         share * static_cast<double>(board_->plan.paced_events);
}

Scene Show::scene() const {
  Scene scene;
  scene.at_s = static_cast<double>(now_ - began_) / 1e9;
  scene.events = board_->plan.events;
  scene.newest = look(board_->writer.sequence);
  if (!samples_.empty() && now_ > samples_.front().when) {
    const std::uint64_t oldest = std::min(samples_.front().sequence, scene.newest);
    scene.per_second = static_cast<double>(scene.newest - oldest) * 1e9 /
                       static_cast<double>(now_ - samples_.front().when);
  }
  scene.rows[0] = writer_row();
  if (scene.rows[0].remark.empty()) scene.rows[0].remark = rate(scene.per_second);
  for (const Role role : kReaders) {
    scene.rows.at(static_cast<std::size_t>(role)) = reader_row(role);
  }
  scene.durable_bytes = look(board_->writer.durable);
  scene.committed_bytes = std::max(look(board_->writer.committed), scene.durable_bytes);
  const Histogram& fast = board_->reader(Role::committed).hand_over;
  scene.latency = fmt::format("{} from append to read (p99 {}); {} until durable",
                              duration(fast.percentile(0.5)), duration(fast.percentile(0.99)),
                              duration(board_->reader(Role::durable).hand_over.percentile(0.5)));
  scene.notes = notes_;
  return scene;
}

Row Show::writer_row() const {
  const WriterPart& writer = board_->writer;
  Row row{Role::writer, Mood::well, look(writer.sequence), ""};
  if (look(writer.burst_durable) != 0) {
    row.mood = Mood::done;
    row.remark = "done, all durable";
  } else if (act_ == Act::writer_opens) {
    row.mood = Mood::dead;
    row.remark = "KILLED, recovering";
  } else if (look(writer.epoch) == 0) {
    row.mood = Mood::waiting;
    row.remark = "opening";
  } else if (now_ - writer_back_ < kRemarkNs) {
    row.mood = Mood::done;
    row.remark = writer_remark_;
  }
  return row;
}

Row Show::reader_row(Role role) const {
  const ReaderPart& reader = board_->reader(role);
  Row row{role, Mood::well, look(reader.sequence), ""};
  const std::uint64_t newest = std::max(look(board_->writer.sequence), row.sequence);
  const std::uint64_t behind = newest - row.sequence;
  const bool late = behind > board_->plan.rate_per_s / 20;  // 50 ms
  if (look(reader.finished) != 0) {
    row.mood = Mood::done;
    row.remark = "has read everything";
  } else if (role == Role::delays && act_ == Act::start_reader) {
    row.mood = Mood::dead;
    row.remark = fmt::format("KILLED, {} behind", grouped(behind));
  } else if (look(reader.opened) == 0) {
    row.mood = Mood::waiting;
    row.remark = "opening";
  } else if (behind == 0) {
    row.remark = "up to date";
  } else {
    row.mood = late ? Mood::behind : Mood::well;
    row.remark = fmt::format("{} behind", grouped(behind));
  }
  return row;
}

}  // namespace demo
