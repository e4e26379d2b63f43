// labels: shared
// Random requests with event ids, over restarts, trims and lost checkpoints, against an evaluator
// that knows nothing but what was appended.

#include <algorithm>
#include <random>

#include "common/damage.h"
#include "keys/key_hash.h"
#include "retention/trimming.h"

namespace tailrace::test {
namespace {

EventId number(std::uint64_t n) {
  EventId id;
  std::memcpy(id.bytes.data(), &n, sizeof n);
  return id;
}

/// The requests of a log that had ids, in their order.
class Taken {
 public:
  struct Request {
    std::uint64_t id = 0;
    AppendedBatch place;
  };
  explicit Taken(std::uint64_t window) : window_(window) {}

  void add(std::uint64_t id, const AppendedBatch& place) { all_.push_back({id, place}); }
  /// The request of that id among the last ones of the window.
  [[nodiscard]] const Request* find(std::uint64_t id) const {
    const std::size_t known = std::min<std::uint64_t>(all_.size(), window_);
    const auto found =
        std::find_if(all_.rbegin(), all_.rbegin() + static_cast<std::ptrdiff_t>(known),
                     [id](const Request& one) { return one.id == id; });
    return found == all_.rbegin() + static_cast<std::ptrdiff_t>(known) ? nullptr : &*found;
  }
  /// Of one that is known still.
  [[nodiscard]] Sequence any_sequence(std::uint64_t random) const {
    const std::uint64_t known = std::min<std::uint64_t>(all_.size(), window_);
    return known == 0 ? 1 : all_[all_.size() - 1 - random % known].place.first_sequence;
  }

 private:
  std::uint64_t window_;
  std::vector<Request> all_;
};

struct Counts {
  std::uint64_t requests = 0, duplicates = 0, removed = 0, trims = 0, restarts = 0;
};

/// Closes, loses what can be made anew, and opens again.
void restart(const TempLog& log, std::optional<Writer>& writer, std::uint64_t random) {
  if (writer) must(writer->close());
  writer.reset();
  if (random % 2 == 0) std::filesystem::remove(log.path() / "keys" / "checkpoint");
  WriterOptions options;
  options.sync = SyncPolicy::none;
  writer.emplace(log.writer(options));
}

void one_log(std::mt19937_64& random, bool large, Counts& counts) {
  const std::uint64_t window = 1 + random() % 300;
  const std::uint64_t kinds = 1 + random() % 600;
  const TempLog log(kSmallSegment, 0, window);
  Taken taken(window);
  std::optional<Writer> writer;
  const std::string payload(large ? 12'000 : 10, 'p');
  for (int request = 0; request < 1500; ++request) {
    if (!writer || random() % 300 == 0) {
      restart(log, writer, random());
      ++counts.restarts;
    }
    if (large && random() % 60 == 0) {
      must(writer->sync());
      const TrimPlan plan = must(writer->trim(before(taken.any_sequence(random()))));
      counts.trims += plan.segments > 0 ? 1 : 0;
    }
    if (random() % 3 == 0) must(writer->append(as_bytes("without")));
    const std::uint64_t id = random() % kinds;
    const std::string key = "key" + std::to_string(id % 7);
    const std::string_view keys[] = {key};
    const RecordInput records[2] = {{as_bytes(payload), 1, {keys, id % 2}},
                                    {as_bytes("second"), 2, keys}};
    const std::span<const RecordInput> batch(records, 1 + id % 2);
    const Taken::Request* const earlier = taken.find(id);
    const Decision decision = must(writer->append_if({batch, {}, number(id)}));
    ++counts.requests;
    ASSERT_EQ(decision.duplicate, earlier != nullptr) << "request " << request;
    if (!decision.duplicate) {
      taken.add(id, decision.place);
      continue;
    }
    ++counts.duplicates;
    counts.removed += decision.place.end == 0 ? 1 : 0;
    ASSERT_EQ(decision.place.first_sequence, earlier->place.first_sequence);
    ASSERT_EQ(decision.place.last_sequence, earlier->place.last_sequence);
    ASSERT_EQ(decision.place.position, earlier->place.position);
    if (decision.place.end != 0) {
      ASSERT_EQ(decision.place.end, earlier->place.end);
    }
    // The same id with less than was appended, or more.
    const std::span<const RecordInput> other(records, 2 - id % 2);
    const auto refused = writer->append_if({other, {}, number(id)});
    ASSERT_FALSE(refused);
    ASSERT_EQ(refused.error().code(), errc::event_id_reused) << refused.error().message();
  }
  must(writer->close());
  ASSERT_EQ(must(verify(log.path())).verdict, Verdict::ok);
}

TEST(EventIdsModel, EachRequestIsAppendedOnceWithinTheWindow) {
  use_memory_disk();
  std::mt19937_64 random(run_seed());
  Counts counts;
  for (std::uint64_t round = 0; round < times(12, 100) && !HasFatalFailure(); ++round) {
    hash_mask = round % 3 == 1 ? 0xf : ~std::uint64_t{0};
    one_log(random, round % 2 == 0, counts);
  }
  hash_mask = ~std::uint64_t{0};
  std::printf(
      "requests: %llu, duplicates: %llu (%llu of removed records), trims: %llu, "
      "restarts: %llu\n",
      static_cast<unsigned long long>(counts.requests),
      static_cast<unsigned long long>(counts.duplicates),
      static_cast<unsigned long long>(counts.removed),
      static_cast<unsigned long long>(counts.trims),
      static_cast<unsigned long long>(counts.restarts));
  EXPECT_GT(counts.duplicates, counts.requests / 20);
  EXPECT_GT(counts.removed, 0u);
}

}  // namespace
}  // namespace tailrace::test
