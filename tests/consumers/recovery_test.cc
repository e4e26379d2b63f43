// Consumers while writers come and go: each opening recovers the log under their hands.

#include <atomic>
#include <thread>

#include "common/damage.h"
#include "consumers/consumers.h"
#include "format/control.h"
#include "log/control_file.h"
#include "log/log_files.h"

namespace tailrace::test {
namespace {

TEST(ConsumerRecovery, AViewLivesOnThroughWritersThatAppendNothing) {
  const TempLog log;
  {
    Writer writer = log.writer();
    append(writer, 3);
  }
  Consumer consumer = must(Consumer::open(log.path(), "c", made()));
  RecordView record;
  for (int i = 0; i < 3; ++i) ASSERT_EQ(consumer.next(record), Delivery::record);
  for (int i = 0; i < 3; ++i) {
    must(log.writer().close());
    RecordView none;
    EXPECT_EQ(consumer.next(none), Delivery::end);
    EXPECT_EQ(as_text(record.payload), "3");
  }
  Writer writer = log.writer();
  append(writer, 1);
  ASSERT_EQ(consumer.next(record), Delivery::record);
  EXPECT_EQ(record.sequence, 4U);
}

// A recovery may begin at any moment, also between the look that found a record and the one that
// hands it out.
TEST(ConsumerRecovery, NothingIsSkippedWhenOneBeginsBetweenTwoLooks) {
  use_memory_disk();
  const TempLog log;
  Writer writer = log.writer();
  Consumer consumer = must(Consumer::open(log.path(), "c", [] {
    ConsumerSetup setup;
    setup.follow = Follow::committed;
    return made(setup);
  }()));
  const LogFiles files = must(LogFiles::open(log.path()));
  const ControlFile control = must(ControlFile::open(files, tailrace::Access::write));
  constexpr Sequence kRecords = 3000;
  std::atomic<bool> done{false};
  std::thread recoveries([&] {
    const ControlView view = control.view();
    while (!done) {
      view.set_generation(view.generation() | 1);
      std::this_thread::yield();
      view.set_generation(view.generation() + 1);
      std::this_thread::sleep_for(std::chrono::microseconds(30));
    }
  });
  std::thread appends([&] {
    for (Sequence i = 0; i < kRecords && !done; ++i) {
      must(writer.append(as_bytes("r")));
      if (i % 4 == 0) std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  });
  RecordView record;
  Sequence last = 0;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (last < kRecords && std::chrono::steady_clock::now() < deadline) {
    const Delivery delivery = consumer.next(record, std::chrono::milliseconds(10));
    if (delivery == Delivery::end) continue;
    EXPECT_EQ(delivery, Delivery::record);
    if (delivery != Delivery::record || record.sequence != last + 1) break;
    ++last;
  }
  done = true;
  recoveries.join();
  appends.join();
  EXPECT_EQ(last, kRecords) << "then came " << record.sequence;
}

}  // namespace
}  // namespace tailrace::test
