// Conditional append against a model: random requests with all kinds of conditions, batches,
// releases, trims and restarts (also without anything that can be rebuilt), decided by the writer
// and by an evaluator that knows nothing but the whole history and goes over all of it each time.
// Decisions and what a conflict tells must be equal. RapidCheck makes the requests and makes a
// failing run small.

#include <fmt/format.h>
#include <rapidcheck.h>

#include <algorithm>
#include <bit>
#include <deque>
#include <random>

#include "common/damage.h"
#include "format/frame.h"
#include "keys/key_hash.h"
#include "retention/trimming.h"

namespace tailrace::test {
namespace {

constexpr std::uint64_t kRuns = 45;
constexpr std::uint64_t kKeys = 14;  // the last two are never written
constexpr std::uint64_t kTypes = 6;  // the last one is never written

const std::string& key_name(std::uint64_t key) {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> made;
    for (std::uint64_t i = 0; i < kKeys; ++i) {
      made.push_back(i % 3 == 0 ? "a key that does not fit into a short string " + std::to_string(i)
                                : "k" + std::to_string(i));
    }
    return made;
  }();
  return names[key];
}

using KeySet = std::uint32_t;  // one bit for each key

std::vector<std::string_view> names_of(KeySet keys) {
  std::vector<std::string_view> names;
  for (std::uint64_t key = 0; key < kKeys; ++key) {
    if ((keys >> key & 1) != 0) names.push_back(key_name(key));
  }
  return names;
}

struct Event {
  std::uint32_t type = 0;
  KeySet keys = 0;
  KeySet released = 0;
  Position position = 0;
};

struct Item {
  std::uint32_t types = 0;  // one bit for each
  KeySet keys = 0;
};

/// A condition as the model understands it.
struct Asked {
  ConditionKind kind = ConditionKind::absent;
  std::uint64_t key = 0;
  std::uint64_t number = 0;
  std::vector<Item> items;
};

/// What is to come of a condition: it holds, or this conflict.
struct Answer {
  bool holds = true;
  Conflict conflict;
  bool gone = false;  // nobody can say: what might conflict has been removed
};

/// The evaluator: the whole history, and nothing made of it.
class History {
 public:
  [[nodiscard]] Sequence last() const { return events_.size(); }
  void add(const Event& event) { events_.push_back(event); }

  /// Records before this one have been removed: where they lay is not told any more, and what they
  /// said is, as far as each key and each type has a last one.
  void trim(Sequence first) { first_ = first; }
  [[nodiscard]] Sequence first() const { return first_; }

  [[nodiscard]] Answer judge(const Asked& asked) const {
    Answer answer;
    Conflict& now = answer.conflict;
    now.condition = asked.kind;
    if (asked.kind == ConditionKind::last_sequence) {
      now.sequence = last();
      answer.holds = last() == asked.number;
    } else if (asked.kind == ConditionKind::no_match) {
      answer = newest_match(asked);
    } else {
      now.key = key_name(asked.key);
      how_it_stands(asked.key, now);
      answer.holds = holds(asked, now);
    }
    return answer;
  }

  void how_it_stands(std::uint64_t key, Conflict& now) const {
    for (Sequence sequence = 1; sequence <= last(); ++sequence) {
      const Event& event = events_[sequence - 1];
      if ((event.keys >> key & 1) == 0) continue;
      ++now.version;
      now.sequence = sequence;
      now.position = place_of(sequence);
      now.released = (event.released >> key & 1) != 0;
    }
  }

 private:
  static bool holds(const Asked& asked, const Conflict& now) {
    const bool absent = now.version == 0 || now.released;
    switch (asked.kind) {
      case ConditionKind::absent: return absent;
      case ConditionKind::exists: return !absent;
      case ConditionKind::version: return now.version == asked.number;
      case ConditionKind::unchanged: return now.sequence <= asked.number;
      case ConditionKind::last_sequence:
      case ConditionKind::no_match: break;
    }
    return false;
  }

  static bool matches(const Item& item, const Event& event) {
    return (item.types == 0 || (item.types >> event.type & 1) != 0) &&
           (event.keys & item.keys) == item.keys;
  }

  [[nodiscard]] Position place_of(Sequence sequence) const {
    return sequence < first_ ? 0 : events_[sequence - 1].position;
  }

  /// The newest record that matches, of all that there ever were; 0 = none.
  [[nodiscard]] Sequence newest(const Item& item) const {
    Sequence newest = 0;
    for (Sequence sequence = 1; sequence <= last(); ++sequence) {
      if (matches(item, events_[sequence - 1])) newest = sequence;
    }
    return newest;
  }

  /// Whether the last record of each of the keys says enough of an item, or all its records are
  /// there with one of the keys.
  [[nodiscard]] bool can_be_judged(const Item& item, Sequence after) const {
    if (after + 1 >= first_ || item.keys == 0) return true;
    if (std::has_single_bit(item.keys) && item.types == 0) return true;
    for (std::uint64_t key = 0; key < kKeys; ++key) {
      if ((item.keys >> key & 1) == 0) continue;
      if (newest({0, KeySet{1} << key}) <= after) return true;
      const bool begins_later =
          std::none_of(events_.begin(), events_.begin() + static_cast<std::ptrdiff_t>(first_ - 1),
                       [&](const Event& event) { return (event.keys >> key & 1) != 0; });
      if (begins_later) return true;
    }
    return false;
  }

  [[nodiscard]] Answer newest_match(const Asked& asked) const {
    Answer answer;
    answer.conflict.condition = asked.kind;
    bool unknown = false;
    for (const Item& item : asked.items.empty() ? std::vector<Item>(1) : asked.items) {
      const Sequence match = newest(item);
      const bool known = match >= first_ || can_be_judged(item, asked.number);
      if (match <= asked.number || !known) {
        unknown = unknown || !can_be_judged(item, asked.number);
        continue;
      }
      answer.holds = false;
      answer.conflict.sequence = match;
      answer.conflict.position = place_of(match);
      return answer;
    }
    answer.gone = unknown;
    return answer;
  }

  Sequence first_ = 1;
  std::vector<Event> events_;
};

struct Counts {
  std::uint64_t requests = 0;
  std::uint64_t conditions = 0;
  std::uint64_t queries = 0;
  std::uint64_t conflicts = 0;
  std::uint64_t matches = 0;
  std::uint64_t gone = 0;
  std::uint64_t trims = 0;
  std::uint64_t restarts = 0;
  std::uint64_t segments = 0;
};
Counts counts;

/// One log and its model. Each step is drawn from a number of its own, so that a run without some
/// of its steps still makes sense.
class Trial {
 public:
  explicit Trial(bool large) : payload_(large ? 30'000 : 2000, 'p') { open(); }

  void step(std::uint64_t drawn) {
    random_.seed(drawn);
    if (one_in(150)) {
      must(writer_->close());
      if (one_in(2)) remove_rebuildable();
      open();
      ++counts.restarts;
    }
    if (one_in(50)) {
      trim();
    } else if (one_in(8)) {
      append_unasked();
    } else {
      ask();
    }
  }

  void finish() {
    must(writer_->close());
    Reader reader = log_.reader();
    RC_ASSERT(must(reader.tail()).last_sequence == history_.last());
    counts.segments += must(reader.tail()).position / kSmallSegment + 1;
  }

 private:
  std::uint64_t below(std::uint64_t limit) { return random_() % limit; }
  bool one_in(std::uint64_t n) { return below(n) == 0; }

  void open() {
    WriterOptions options;
    options.sync = SyncPolicy::none;
    writer_.emplace(log_.writer(options));
  }

  void remove_rebuildable() {
    std::filesystem::remove(log_.path() / "keys" / "checkpoint");
    for (const auto& entry : std::filesystem::directory_iterator(log_.path() / "segments")) {
      if (entry.path().extension() == ".idx") std::filesystem::remove(entry.path());
    }
  }

  void trim() {
    if (history_.last() == 0) return;
    must(writer_->sync());
    const Sequence first = history_.last() - below(std::min<Sequence>(history_.last(), 100));
    const TrimPlan plan = must(writer_->trim(before(first)));
    if (plan.segments == 0) return;
    history_.trim(plan.new_first_sequence);
    ++counts.trims;
  }

  /// Some keys are in most records, others seldom.
  KeySet any_keys(std::uint64_t most) {
    KeySet keys = 0;
    for (std::uint64_t i = below(most + 1); i > 0; --i) {
      keys |= KeySet{1} << std::min(below(kKeys), below(kKeys));
    }
    return keys;
  }

  void draw_batch() {
    names_.clear();
    events_.clear();
    records_.clear();
    for (std::uint64_t i = one_in(3) ? 1 + below(4) : 1; i > 0; --i) {
      Event event;
      event.type = static_cast<std::uint32_t>(std::min(below(kTypes - 1), below(kTypes - 1)));
      event.keys = any_keys(4) & ((KeySet{1} << (kKeys - 2)) - 1);
      std::vector<std::string_view>& names = names_.emplace_back(names_of(event.keys));
      RecordInput record{as_bytes(payload_).first(below(payload_.size())), event.type, names};
      if (one_in(5)) {
        record.releases = below(names.size() + 1);
        KeySet kept = event.keys;
        for (std::size_t n = record.releases; n > 0; --n) kept &= ~std::bit_floor(kept);
        event.released = event.keys & ~kept;
      }
      records_.push_back(record);
      events_.push_back(event);
    }
  }

  Asked draw_condition() {
    Asked asked;
    asked.key = std::min(below(kKeys), below(kKeys));
    Conflict now;
    history_.how_it_stands(asked.key, now);
    const Sequence last = history_.last();
    switch (below(9)) {
      case 0: asked.kind = now.version == 0 ? ConditionKind::absent : ConditionKind::exists; break;
      case 1: asked.kind = one_in(2) ? ConditionKind::absent : ConditionKind::exists; break;
      case 2:
        asked.kind = ConditionKind::version;
        asked.number = now.version + below(2);
        break;
      case 3:
        asked.kind = ConditionKind::unchanged;
        asked.number = one_in(2) ? now.sequence : below(last + 1);
        break;
      case 4:
        asked.kind = ConditionKind::last_sequence;
        asked.number = last - below(std::min<Sequence>(2, last + 1));
        break;
      default: draw_query(asked);
    }
    return asked;
  }

  void draw_query(Asked& asked) {
    asked.kind = ConditionKind::no_match;
    for (std::uint64_t i = below(4); i > 0; --i) {
      Item item;
      if (!one_in(3)) item.types = 1u << below(kTypes) | (one_in(3) ? 1u << below(kTypes) : 0);
      if (!one_in(3)) item.keys = any_keys(3);
      asked.items.push_back(item);
    }
    const Sequence last = history_.last();
    asked.number = one_in(4) ? below(last + 1) : last - std::min(last, below(20));
    if (one_in(4) && history_.first() > 2) asked.number = history_.first() - 1 - below(2);
    if (one_in(2)) return;
    // Just at the edge: what would match is the last record before, or the first one behind.
    const Conflict match = history_.judge(asked).conflict;
    if (match.sequence != 0) asked.number = match.sequence - below(2);
  }

  Condition as_asked(const Asked& asked) {
    if (asked.kind != ConditionKind::no_match) {
      const bool by_key = asked.kind != ConditionKind::last_sequence;
      return {asked.kind, by_key ? std::string_view(key_name(asked.key)) : "", asked.number};
    }
    Query& query = queries_.emplace_back();
    for (const Item& item : asked.items) {
      QueryItem& to = query.emplace_back();
      for (std::uint32_t type = 0; type < kTypes; ++type) {
        if ((item.types >> type & 1) != 0) to.types.push_back(type);
      }
      const auto names = names_of(item.keys);
      to.keys.assign(names.rbegin(), names.rend());
    }
    return Condition::no_match(query, asked.number);
  }

  void append_unasked() {
    draw_batch();
    if (records_.size() == 1 && one_in(2)) {
      Claim claim = must(writer_->claim(records_[0].payload.size(), records_[0]));
      if (one_in(3)) return;  // it is given back
      const Appended place = must(claim.commit());
      appended({place.position, place.end, place.sequence, place.sequence});
    } else {
      appended(must(writer_->append_batch(records_)));
    }
  }

  void ask() {
    draw_batch();
    queries_.clear();
    std::vector<Condition> conditions;
    std::vector<Answer> answers;
    for (std::uint64_t i = 1 + below(4); i > 0; --i) {
      const Asked asked = draw_condition();
      conditions.push_back(as_asked(asked));
      answers.push_back(history_.judge(asked));
      counts.queries += asked.kind == ConditionKind::no_match ? 1 : 0;
    }
    ++counts.requests;
    counts.conditions += conditions.size();
    const auto failing = std::find_if(answers.begin(), answers.end(),
                                      [](const Answer& each) { return !each.holds || each.gone; });
    const auto decision = writer_->append_if(conditions, records_);
    if (failing != answers.end() && failing->gone) {
      ++counts.gone;
      RC_ASSERT(!decision);
      if (decision.error().code() != errc::gone) RC_FAIL(decision.error().message());
    } else if (!decision) {
      RC_FAIL(decision.error().message());
    } else {
      RC_ASSERT(decision->appended() == (failing == answers.end()));
      if (decision->appended()) return appended(decision->place);
      ++counts.conflicts;
      counts.matches += failing->conflict.condition == ConditionKind::no_match ? 1 : 0;
      same(*decision->conflict, failing->conflict);
    }
    RC_ASSERT(writer_->last_sequence() == history_.last());
  }

  static void same(const Conflict& got, const Conflict& expected) {
    RC_ASSERT(got.condition == expected.condition);
    RC_ASSERT(got.key == expected.key);
    RC_ASSERT(got.version == expected.version);
    RC_ASSERT(got.released == expected.released);
    RC_ASSERT(got.sequence == expected.sequence);
    if (expected.condition != ConditionKind::last_sequence) {
      RC_ASSERT(got.position == expected.position);
    }
  }

  /// The model learns what was appended, and where.
  void appended(const AppendedBatch& place) {
    RC_ASSERT(place.first_sequence == history_.last() + 1);
    Position position = place.position;
    for (std::size_t i = 0; i < events_.size(); ++i) {
      events_[i].position = position;
      history_.add(events_[i]);
      std::uint64_t size = kFrameHeaderBytes + records_[i].payload.size();
      for (const std::string_view key : records_[i].keys) size += key_entry_bytes(key.size());
      position += frame_span(size);
    }
    RC_ASSERT(place.end == position);
  }

  TempLog log_;
  std::string payload_;
  std::optional<Writer> writer_;
  History history_;
  std::mt19937_64 random_;
  std::deque<std::vector<std::string_view>> names_;
  std::vector<Event> events_;
  std::vector<RecordInput> records_;
  std::deque<Query> queries_;
};

constexpr std::uint64_t kSteps = 1400;  // the most in one run

/// Random runs. RC_PARAMS, if set, says how many, and with which seed.
bool runs_agree(const char* what) {
  use_memory_disk();
  const std::string params = fmt::format("seed={} max_success={}", run_seed(), times(kRuns, 100));
  ::setenv("RC_PARAMS", params.c_str(), 0);
  counts = {};
  const bool passed = rc::check(what, [] {
    const auto step = rc::gen::noShrink(rc::gen::inRange<std::uint64_t>(0, ~std::uint64_t{0}));
    const auto steps =
        *rc::gen::resize(kSteps, rc::gen::container<std::vector<std::uint64_t>>(step));
    Trial run(*rc::gen::arbitrary<bool>());
    for (const std::uint64_t drawn : steps) run.step(drawn);
    run.finish();
  });
  fmt::print(
      "{} conditions in {} requests: {} conflicts, {} gone; {} queries, {} of them matched; "
      "{} restarts, {} trims, {} segments\n",
      counts.conditions, counts.requests, counts.conflicts, counts.gone, counts.queries,
      counts.matches, counts.restarts, counts.trims, counts.segments);
  return passed;
}

TEST(ConditionsModel, TheWriterDecidesAsTheHistorySays) {
  EXPECT_TRUE(runs_agree("requests"));
  EXPECT_GT(counts.conflicts, counts.requests / 10);
  EXPECT_GT(counts.matches, counts.queries / 20);
  EXPECT_GT(counts.gone, 0u);
}

TEST(ConditionsModel, KeysOfOneHashAreNotMixedUp) {
  hash_mask = 3;
  EXPECT_TRUE(runs_agree("requests, with hashes of two bits"));
  hash_mask = ~std::uint64_t{0};
}

}  // namespace
}  // namespace tailrace::test
