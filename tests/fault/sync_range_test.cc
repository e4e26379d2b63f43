// sources: common/failing_calls.cc common/failing_ring.cc
//
// A sync behind the journal write-protects what it takes in: so it takes in nothing of what the
// appender may still store to, not a page more than it says.

#include "common/broken_disk.h"

namespace tailrace::test {
namespace {

constexpr std::uint64_t kSegment = std::uint64_t{16} << 20;
constexpr std::uint64_t kFolio = std::uint64_t{2} << 20;

/// Bytes that segments were asked to be synced of.
std::atomic<std::uint64_t> synced_bytes{0};

TEST(SyncRange, ASyncEndsAFolioBehindTheAppenderAndTakesNoPageMore) {
  use_memory_disk();
  const TempLog log(kSegment, kSegment);
  const Hook hook = [](const CallInfo& info) {
    if (info.call == Call::msync && file_of(info).ends_with(".seg")) {
      synced_bytes += info.size_bytes;
    }
    return Fate{};
  };
  set_hook(&hook);
  {
    WriterOptions options;
    options.sync = SyncPolicy::none;
    Writer writer = log.writer(options);
    const std::string payload(100'000, 'p');
    const Position before = synced_to(log.path());
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    // A quarter of the journal starts a sync. It ends before the next one is given a reason.
    for (int syncs = 0; syncs < 2; ++syncs) {
      const Position last = synced_to(log.path());
      while (synced_to(log.path()) == last && std::chrono::steady_clock::now() < deadline) {
        must(writer.append(as_bytes(payload)));
        must(writer.sync());
        const auto moment = std::chrono::steady_clock::now() + std::chrono::milliseconds(2);
        while (synced_to(log.path()) == last && std::chrono::steady_clock::now() < moment) {
          std::this_thread::yield();
        }
      }
      ASSERT_GT(synced_to(log.path()), last) << "nothing was synced";
      EXPECT_LE(synced_to(log.path()) + kFolio, writer.committed());
    }
    ASSERT_LT(writer.committed(), kSegment);
    // The first one begins in the middle of the page where the log ended when it was opened.
    EXPECT_EQ(synced_bytes, synced_to(log.path()) - align_down(before, 4096));
    must(writer.close());
  }
  set_hook(nullptr);
}

}  // namespace
}  // namespace tailrace::test
