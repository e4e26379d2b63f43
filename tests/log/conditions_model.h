#pragma once

#include <algorithm>
#include <bit>
#include <string>
#include <string_view>
#include <vector>

#include "tailrace/condition.h"

/// What a conditional append must come to, by going over the whole history each time.
namespace tailrace::test {

inline constexpr std::uint64_t kKeys = 14;  // the last two are never written
inline constexpr std::uint64_t kTypes = 6;  // the last one is never written

inline const std::string& key_name(std::uint64_t key) {
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

inline std::vector<std::string_view> names_of(KeySet keys) {
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
class Model {
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
      case ConditionKind::no_match:
      case ConditionKind::fence: break;
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

}  // namespace tailrace::test
