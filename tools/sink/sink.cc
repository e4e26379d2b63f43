#include "sink/sink.h"

#include <fmt/format.h>
#include <tailrace/clock.h>

#include <algorithm>
#include <limits>
#include <thread>

#include "base/planted.h"

namespace tailrace::sink {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kMostRecords = 20'000;
constexpr std::size_t kMostBytes = std::size_t{8} << 20;
constexpr milliseconds kLookForStops{100};
constexpr milliseconds kFirstPause{50};
constexpr milliseconds kLongestPause{5000};
constexpr std::int64_t kReserveEveryNs = 1'000'000'000;

tl::unexpected<SinkFailure> of_log(Error error) {
  return tl::unexpected(SinkFailure{SinkFailure::Kind::log, std::move(error)});
}

}  // namespace

Sink::Sink(SinkOptions options, const Mapping& mapping, Owner owner, std::unique_ptr<Store> store)
    : options_(std::move(options)),
      owner_(std::move(owner)),
      store_(std::move(store)),
      reader_(mapping) {}

tl::expected<void, SinkFailure> Sink::run() {
  std::chrono::nanoseconds pause = kFirstPause;
  while (!stopped_.load(std::memory_order_relaxed)) {
    const std::uint64_t transactions = counts_.transactions;
    const auto lived = live();
    consumer_.reset();
    if (!lived) return tl::unexpected(lived.error());
    if (*lived == Step::go_on) return {};
    ++counts_.retries;
    if (counts_.transactions != transactions) pause = kFirstPause;
    wait_out(pause);
    pause = std::min<std::chrono::nanoseconds>(2 * pause, kLongestPause);
  }
  return {};
}

void Sink::wait_out(std::chrono::nanoseconds pause) const {
  const auto until = Clock::now() + pause;
  while (!stopped_.load(std::memory_order_relaxed) && Clock::now() < until) {
    std::this_thread::sleep_for(std::min<std::chrono::nanoseconds>(pause, kLookForStops));
  }
}

/// From the store's stamp to a stop, the end, or a trouble. go_on: it is over.
Sink::Stepped Sink::live() {
  changes_.clear();
  stamps_.clear();
  aside_.clear();
  if (auto placed = take_place(); !placed || *placed == Step::again) return placed;
  name_followers_ahead();
  return work();
}

/// The store's stamp wins, also backwards, and is what the consumer's file says before anything
/// else happens.
Sink::Stepped Sink::take_place() {
  auto stored = store_->open();
  if (!stored) return trouble(stored.error());
  stored_ = *stored;
  auto parked = store_->set_aside();
  if (!parked) return trouble(parked.error());
  parked_.clear();
  for (SetAside& one : *parked) parked_.emplace(std::move(one.key), one.sequence);

  ConsumerOptions opening;
  ConsumerSetup& setup = opening.create.emplace();
  setup.after = options_.after;
  setup.durable_effects = true;
  const StartAt& start = options_.start;
  const bool from_the_first = start.kind == StartAt::Kind::sequence && start.sequence == 1;
  if (planted(Mistake::sink_trusts_consumer)) {
    stored_ = stored_.value_or(Stamp{});
  } else if (stored_ || from_the_first) {
    opening.at = stored_.value_or(Stamp{.log_id = owner_.log_id});
  } else {
    const auto made = create_consumer(options_.log, options_.name, setup);
    if (!made && made.error().code() != errc::exists) return of_log(made.error());
    if (auto put = reset_consumer(options_.log, options_.name, start); !put) {
      return of_log(put.error());
    }
  }
  auto consumer = Consumer::open(options_.log, options_.name, opening);
  if (!consumer) return of_log(consumer.error());
  consumer_.emplace(std::move(*consumer));
  if (options_.hold_back.count() > 0) {
    ConsumerSetup reserve;
    reserve.retain = Retain{.cap_bytes = options_.hold_back_cap_bytes};
    const auto made = create_consumer(options_.log, options_.name + ".reserve", reserve);
    if (!made && made.error().code() != errc::exists) return of_log(made.error());
  }
  if (options_.dead_letter && !dead_letter_) {
    auto opened = DeadLetter::open(*options_.dead_letter, owner_);
    if (!opened) return of_log(opened.error());
    dead_letter_.emplace(std::move(*opened));
  }
  return Step::go_on;
}

/// Those that never pass this sink and have, since the store came back from a backup.
void Sink::name_followers_ahead() const {
  const auto list = list_consumers(options_.log);
  if (!list) return;
  const Sequence here = stored_ ? stored_->sequence : 0;
  for (const ConsumerInfo& info : list->consumers) {
    const bool follows =
        std::find(info.after.begin(), info.after.end(), options_.name) != info.after.end();
    if (!follows || info.committed.sequence <= here) continue;
    options_.note(fmt::format(
        "consumer {} is at {}, ahead of what {} holds ({}): what it made of the records between "
        "may have no counterpart there until the sink has come by again",
        info.name, info.committed.sequence, store_->name(), here));
  }
}

Sink::Stepped Sink::work() {
  for (;;) {
    auto taken = take_batch();
    // What came before a record that cannot be, is stored before the sink ends.
    if (!changes_.empty()) {
      auto kept = store(0, changes_.size());
      if (!kept || *kept == Step::again) return kept;
      counts_.records += changes_.size();
      keep_reserve(stamps_.back(), last_timestamp_ns_);
      changes_.clear();
      stamps_.clear();
      aside_.clear();
      if (!taken || *taken == Step::again) return taken;
      continue;
    }
    if (!taken || *taken == Step::again) return taken;
    if (stopped_.load(std::memory_order_relaxed) || !options_.follow) return Step::go_on;
  }
}

/// Records as they come, until the first of them has waited long enough or no more are there.
Sink::Stepped Sink::take_batch() {
  RecordView record;
  Delivery delivery = consumer_->next(record);
  if (delivery == Delivery::end && options_.follow)
    delivery = consumer_->next(record, kLookForStops);
  const auto until = Clock::now() + options_.batch;
  std::size_t bytes = 0;
  for (;; delivery = consumer_->next(record)) {
    if (delivery == Delivery::failed) return of_log(consumer_->error());
    if (delivery != Delivery::record) return Step::go_on;
    if (auto took = take(record); !took || *took == Step::again) return took;
    bytes += record.payload.size();
    if (changes_.size() >= kMostRecords || bytes >= kMostBytes) return Step::go_on;
    if (changes_.size() % 64 == 0 && Clock::now() >= until) return Step::go_on;
  }
}

/// Why this record goes where an earlier one of its key went; nothing: it does not.
std::optional<std::string> Sink::why_parked(const RecordView& record) const {
  if (!options_.key_stops || parked_.empty()) return std::nullopt;
  for (const KeyView& key : record.keys) {
    const auto it = parked_.find(std::string(key.bytes));
    if (it == parked_.end() || it->second >= record.sequence) continue;
    return fmt::format("its key {} has been stopped since record {}", it->first, it->second);
  }
  return std::nullopt;
}

Sink::Stepped Sink::take(const RecordView& record) {
  Change change;
  std::optional<std::string> why = why_parked(record);
  if (!why) {
    if (auto read = reader_.read(record, change); !read) why = std::move(read.error());
  }
  if (why) {
    if (auto aside = put_aside(record, *why); !aside || *aside == Step::again) return aside;
    change = {
        .action = Action::ignore, .sequence = record.sequence, .epoch = record.epoch, .values = {}};
  }
  changes_.push_back(std::move(change));
  stamps_.push_back(consumer_->stamp());
  last_timestamp_ns_ = record.timestamp_ns;
  return Step::go_on;
}

Sink::Stepped Sink::put_aside(const RecordView& record, const std::string& why) {
  if (!dead_letter_ && planted(Mistake::sink_skips_bad_record)) return Step::go_on;
  if (!dead_letter_) {
    return tl::unexpected(SinkFailure{
        SinkFailure::Kind::record,
        Error(errc::invalid_argument, fmt::format("{}: record {} cannot be stored: {}",
                                                  store_->name(), record.sequence, why))
            .path(options_.log)
            .sequence(record.sequence)
            .next(
                "mend the mapping or the table, or pass --dead-letter LOG2 to go on without it")});
  }
  if (auto put = dead_letter_->put(record, why); !put) return of_log(put.error());
  options_.note(fmt::format("record {} set aside: {}", record.sequence, why));
  ++counts_.set_aside;
  if (!options_.key_stops) return Step::go_on;
  for (const KeyView& key : record.keys) {
    if (parked_.emplace(std::string(key.bytes), record.sequence).second) {
      aside_.push_back({std::string(key.bytes), record.sequence});
    }
  }
  return Step::go_on;
}

/// A record of the batch that the store refuses, and with key_stops all later ones of the batch
/// that share a key with it: they are behind us by now, and read once more.
Sink::Stepped Sink::put_aside_refused(std::size_t culprit, std::size_t last,
                                      const std::string& why) {
  auto reader = Reader::open(options_.log);
  if (!reader) return of_log(reader.error());
  for (std::size_t i = culprit; i < last; ++i) {
    if (changes_[i].action == Action::ignore) continue;
    if (auto found = reader->seek_position(stamps_[i].position); !found) {
      return of_log(found.error());
    }
    RecordView record;
    if (reader->next(record) != Outcome::record) {
      return of_log(Error(errc::gone, "a record was removed before it was stored")
                        .path(options_.log)
                        .sequence(stamps_[i].sequence));
    }
    const auto reason = i == culprit ? std::optional(why) : why_parked(record);
    if (reason) {
      if (auto put = put_aside(record, *reason); !put || *put == Step::again) return put;
      changes_[i].action = Action::ignore;
    }
    if (!options_.key_stops) break;
  }
  return Step::go_on;
}

std::vector<SetAside> Sink::aside_in(std::size_t first, std::size_t last) const {
  std::vector<SetAside> some;
  if (planted(Mistake::sink_forgets_set_aside)) return some;
  for (const SetAside& one : aside_) {
    if (one.sequence >= stamps_[first].sequence && one.sequence <= stamps_[last - 1].sequence) {
      some.push_back(one);
    }
  }
  return some;
}

/// Stores [first, last) of the batch. A record that cannot be is found and set aside, or ends the
/// sink once all before it are stored.
Sink::Stepped Sink::store(std::size_t first, std::size_t last) {
  while (first < last) {
    std::size_t failed = 0;
    const Stamp& to = stamps_[last - 1];
    if (planted(Mistake::sink_commits_first)) static_cast<void>(consumer_->commit_durable(to));
    const auto stored = store_->commit({changes_.data() + first, last - first}, stored_, to,
                                       aside_in(first, last), failed);
    if (stored) {
      stored_ = to;
      ++counts_.transactions;
      if (auto committed = consumer_->commit_durable(to); !committed) {
        return of_log(committed.error());
      }
      return Step::go_on;
    }
    if (stored.error().kind != Trouble::Kind::record) return trouble(stored.error());
    std::size_t culprit = first + failed;
    if (failed >= last - first) {  // nobody can tell which: halves
      if (last - first > 1) {
        const std::size_t middle = first + (last - first) / 2;
        if (auto half = store(first, middle); !half || *half == Step::again) return half;
        first = middle;
        continue;
      }
      culprit = first;
    }
    if (changes_[culprit].action == Action::ignore) {
      return trouble({Trouble::Kind::fatal, stored.error().what});
    }
    if (!dead_letter_) {
      if (auto before = store(first, culprit); !before || *before == Step::again) return before;
    }
    auto aside = put_aside_refused(culprit, last, stored.error().what);
    if (!aside || *aside == Step::again) return aside;
  }
  return Step::go_on;
}

Sink::Stepped Sink::trouble(const Trouble& trouble) const {
  if (trouble.kind == Trouble::Kind::passing) {
    options_.note(fmt::format("{}; trying again", trouble.what));
    return Step::again;
  }
  const auto kind =
      trouble.kind == Trouble::Kind::lost ? SinkFailure::Kind::lost : SinkFailure::Kind::store;
  Error error(errc::io, trouble.what);
  if (!trouble.next.empty()) error.next(trouble.next);
  return tl::unexpected(SinkFailure{kind, std::move(error)});
}

/// A consumer NAME.reserve that retains, and is committed so far behind.
void Sink::keep_reserve(const Stamp& stamp, std::int64_t timestamp_ns) {
  if (options_.hold_back.count() == 0) return;
  if (reserve_.empty() || timestamp_ns - reserve_.back().first >= kReserveEveryNs) {
    reserve_.emplace_back(timestamp_ns, stamp);
  }
  const std::int64_t until = now_ns() - options_.hold_back.count();
  std::optional<Stamp> passed;
  while (!reserve_.empty() && reserve_.front().first < until) {
    passed = reserve_.front().second;
    reserve_.pop_front();
  }
  if (!passed) return;
  const auto moved = commit_consumer(options_.log, options_.name + ".reserve", passed->sequence,
                                     passed->epoch, CommitKind::durable);
  if (!moved) options_.note(fmt::format("the reserve stays as it is: {}", moved.error().message()));
}

}  // namespace tailrace::sink
