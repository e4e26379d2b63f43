// sources: common/failing_calls.cc common/failing_ring.cc
//
// A checkpoint of the keys holds nothing that is not durable: a power cut could take it back, and
// the log could grow again in another way.

#include "common/broken_disk.h"
#include "format/keys_file.h"
#include "retention/trimming.h"

namespace tailrace::test {
namespace {

TEST(Checkpoint, WaitsForWhatIsNotDurable) {
  const TempDir dir;
  make_small_log(dir.path() / "log");
  BrokenDisk disk;
  WriterOptions options;
  options.sync = SyncPolicy::none;
  Writer writer = must(Writer::open(dir.path() / "log", options));
  disk.rule([](Io) { return EIO; });  // from now on nothing becomes durable
  const std::string_view keys[] = {"k"};
  must(writer.append({as_bytes("x"), 0, keys}));
  Claim claim = must(writer.claim(writer.max_payload_bytes()));  // in the next segment
  must(claim.commit(1));
  const std::uint64_t segment = must(inspect(dir.path() / "log")).segment_size_bytes;
  ASSERT_GT(writer.committed(), segment);
  ASSERT_LT(writer.durable(), segment);
  sleep_ms(2500);  // one is considered every second
  EXPECT_EQ(file_bytes(dir.path() / "log" / "keys" / "checkpoint"), "");
}

}  // namespace
}  // namespace tailrace::test
