// Segments go by themselves, and stay for whoever needs them.

#include <condition_variable>
#include <thread>

#include "consumers/consumers.h"
#include "log/age_clock.h"
#include "retention/trimming.h"

namespace tailrace::test {
namespace {

template <class True>
bool comes_true(True true_by_now) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!true_by_now()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

/// Begins a new segment with a record; false: not now.
bool rolls(Writer& writer) {
  auto claim = writer.claim(writer.max_payload_bytes());
  if (!claim) {
    EXPECT_EQ(claim.error().code(), errc::busy);
    return false;
  }
  must(claim->commit(1));
  return true;
}

class Retained : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { use_memory_disk(); }

  [[nodiscard]] bool begins_with_segment(std::uint64_t number) const {
    return comes_true([&] { return segments_of(log_.path()).front() == number; });
  }
  [[nodiscard]] RetentionState state() const { return must(read_stats(log_.path())).retention; }

  /// A consumer that retains, and has durably committed so many records.
  void consume(const std::string& name, int records, std::uint64_t cap, OverCap over_cap) const {
    ConsumerSetup setup;
    setup.retain = Retain{cap, over_cap};
    Consumer consumer = must(Consumer::open(log_.path(), name, made(setup)));
    RecordView record;
    for (int i = 0; i < records; ++i) ASSERT_EQ(consumer.next(record), Delivery::record);
    must(consumer.commit_durable());
  }

  TempLog log_;
};

TEST_F(Retained, BySizeWhatIsBeyondGoes) {
  fill(log_, 6);
  WriterOptions options;
  options.retention.max_bytes = 3 * kSmallSegment;
  Writer writer = log_.writer(options);
  EXPECT_TRUE(begins_with_segment(3));
  roll(writer, 2);
  must(writer.sync());
  EXPECT_TRUE(begins_with_segment(5));
  must(writer.close());
  EXPECT_EQ(must(verify(log_.path())).verdict, Verdict::ok);
}

TEST_F(Retained, ByAgeWhatIsOlderGoes) {
  {
    Writer writer = log_.writer();
    const std::string payload(kSmallSegment - 10'000, 'x');
    const std::int64_t now = Clock::kernel_ns();
    for (const std::int64_t minutes : {50, 40, 30, 20, 10}) {
      RecordInput input;
      input.timestamp_ns = now - minutes * 60'000'000'000;
      input.payload = as_bytes(payload);
      must(writer.append(input));
    }
    must(writer.close());
  }
  WriterOptions options;
  options.retention.max_age = std::chrono::minutes(25);
  Writer writer = log_.writer(options);
  EXPECT_TRUE(begins_with_segment(3));
  EXPECT_EQ(must(log_.reader().first_sequence()), 4u);
}

TEST_F(Retained, AClockThatWasSetWhileTheWriterRestartsPausesByAge) {
  fill(log_, 4);
  // The last writer of this boot believed in a wall clock an hour behind the present one: it was
  // set ahead since.
  const auto at = kActivityAt + offsetof(Activity, clock_offset_ns);
  constexpr std::int64_t kHour = 3'600'000'000'000;
  const auto offset = peek<std::int64_t>(log_.path() / "control", at);
  poke_value<std::int64_t>(log_.path() / "control", at, offset - kHour);
  WriterOptions options;
  options.retention.max_age = std::chrono::milliseconds(500);
  options.retention.max_age *= 100;  // 50 s
  Writer writer = log_.writer(options);
  EXPECT_TRUE(comes_true([&] { return state() == RetentionState::paused; }));
  EXPECT_EQ(segments_of(log_.path()).front(), 0u);
}

TEST_F(Retained, AgesAreBelievedOnlyOnASteadyClock) {
  constexpr std::int64_t kSecond = 1'000'000'000;
  AgeClock clock(1000 * kSecond);
  EXPECT_TRUE(clock.believe(1500 * kSecond, 500 * kSecond, 60 * kSecond));
  EXPECT_TRUE(clock.believe(1509 * kSecond, 500 * kSecond, 60 * kSecond));  // NTP
  EXPECT_TRUE(clock.believe(1518 * kSecond, 500 * kSecond, 60 * kSecond));
  EXPECT_FALSE(clock.believe(9000 * kSecond, 501 * kSecond, 60 * kSecond));
  EXPECT_FALSE(clock.believe(9059 * kSecond, 560 * kSecond, 60 * kSecond));
  EXPECT_TRUE(clock.believe(1579 * kSecond, 560 * kSecond, 60 * kSecond));  // it is back
  EXPECT_FALSE(clock.believe(100 * kSecond, 570 * kSecond, 60 * kSecond));
  EXPECT_FALSE(clock.believe(159 * kSecond, 629 * kSecond, 60 * kSecond));
  EXPECT_TRUE(
      clock.believe(161 * kSecond, 631 * kSecond, 60 * kSecond));  // so much time has passed
  EXPECT_TRUE(clock.believe(162 * kSecond, 632 * kSecond, 60 * kSecond));
  // A second jump while the first one is waited for: the wait begins anew.
  EXPECT_FALSE(clock.believe(1000 * kSecond, 640 * kSecond, 60 * kSecond));
  EXPECT_FALSE(clock.believe(9000 * kSecond, 699 * kSecond, 60 * kSecond));
  EXPECT_FALSE(clock.believe(9002 * kSecond, 701 * kSecond, 60 * kSecond));
  EXPECT_TRUE(clock.believe(9061 * kSecond, 760 * kSecond, 60 * kSecond));
}

TEST_F(Retained, AConsumerKeepsWhatItNeedsAndIsNamed) {
  fill(log_, 8);
  consume("risk", 3, 100 * kSmallSegment, OverCap::gone);
  ConsumerSetup setup;
  must(create_consumer(log_.path(), "passer-by", setup));  // retains nothing
  const TrimPlan plan = must(plan_trim(log_.path(), before(7)));
  // It has committed record 3, and keeps the segment that this one lies in.
  EXPECT_EQ(plan.new_first_sequence, 3u);
  ASSERT_EQ(plan.held_by.size(), 1u);
  EXPECT_EQ(plan.held_by[0].who, "consumer risk");
  EXPECT_EQ(plan.held_by[0].segment, 2u);
  EXPECT_GT(plan.held_by[0].behind_bytes, 5 * kSmallSegment - 10'000);
  EXPECT_TRUE(plan.losing.empty());
  WriterOptions options;
  options.retention.max_bytes = 2 * kSmallSegment;
  Writer writer = log_.writer(options);
  EXPECT_TRUE(begins_with_segment(2));
  EXPECT_TRUE(comes_true([&] { return state() == RetentionState::held; }));
  Consumer consumer = must(Consumer::open(log_.path(), "risk"));
  EXPECT_EQ(must(plan_trim(log_.path(), before(7))).held_by[0].who,
            "consumer risk, pid " + std::to_string(::getpid()));
  EXPECT_EQ(take(consumer, 3), (std::vector<Sequence>{4, 5, 6}));
  must(consumer.commit_durable());
  EXPECT_TRUE(begins_with_segment(5));
}

TEST_F(Retained, AConsumerOverItsCapLosesWhatItSaidItWould) {
  fill(log_, 8);
  consume("slow", 1, 3 * kSmallSegment, OverCap::gone);
  const TrimPlan plan = must(plan_trim(log_.path(), keep(0)));
  EXPECT_EQ(plan.new_first_position, 4 * kSmallSegment);
  ASSERT_EQ(plan.losing.size(), 1u);
  EXPECT_EQ(plan.losing[0].who, "consumer slow");
  Writer writer = log_.writer();
  must(writer.trim(keep(0)));
  EXPECT_EQ(code(Consumer::open(log_.path(), "slow")), errc::gone);
}

TEST_F(Retained, ACapMayBeAsLargeAsANumberCanBe) {
  fill(log_, 4);
  const std::uint64_t most = ~std::uint64_t{0};
  consume("all", 2, most, OverCap::gone);
  consume("patient", 2, most, OverCap::hold_append);
  EXPECT_EQ(must(plan_trim(log_.path(), keep(0))).new_first_position, kSmallSegment);
  WriterOptions options;
  options.retention.max_bytes = 2 * kSmallSegment;
  options.when_behind = WhenBehind::busy;
  Writer writer = log_.writer(options);
  EXPECT_TRUE(begins_with_segment(1));
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // the hold has been considered
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(comes_true([&] { return rolls(writer); }));
}

TEST_F(Retained, NobodyWaitsForAConsumerThatHasReadEverything) {
  // Its cap is smaller than what a segment holds behind the record that it has last made durable.
  fill(log_, 2);
  consume("ledger", 2, 4096, OverCap::hold_append);
  WriterOptions options;
  options.retention.max_bytes = 2 * kSmallSegment;
  options.when_behind = WhenBehind::busy;
  Writer writer = log_.writer(options);
  std::this_thread::sleep_for(std::chrono::milliseconds(60));  // the hold has been considered
  Consumer consumer = must(Consumer::open(log_.path(), "ledger"));
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(comes_true([&] { return rolls(writer); }));
    must(writer.sync());
    EXPECT_EQ(take(consumer, 10).size(), 1u);
    must(consumer.commit());  // durable only once in each segment
  }
}

TEST_F(Retained, AppendIsHeldBackForAConsumerThatMustLoseNothing) {
  fill(log_, 2);
  consume("ledger", 1, 3 * kSmallSegment, OverCap::hold_append);
  WriterOptions options;
  options.retention.max_bytes = 2 * kSmallSegment;
  options.when_behind = WhenBehind::busy;
  Writer writer = log_.writer(options);
  std::uint64_t rolled = 0;
  const auto roll_on = [&] {
    auto claim = writer.claim(writer.max_payload_bytes());
    if (!claim) return claim.error().what();
    must(claim->commit(1));
    ++rolled;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return std::string();
  };
  std::string said;
  ASSERT_TRUE(comes_true([&] {
    said = roll_on();
    return said.find("must lose nothing") != said.npos || rolled > 20;
  }));
  EXPECT_LE(writer.committed(), 6 * kSmallSegment);
  EXPECT_EQ(segments_of(log_.path()).front(), 0u);
  {
    Consumer consumer = must(Consumer::open(log_.path(), "ledger"));
    EXPECT_GE(take(consumer, 100).size(), 2u);
    must(consumer.commit_durable());
  }
  const std::uint64_t before = rolled;
  EXPECT_TRUE(comes_true([&] { return roll_on().empty() && rolled > before; }));
}

}  // namespace
}  // namespace tailrace::test
