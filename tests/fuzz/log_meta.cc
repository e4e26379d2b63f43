// Bytes as log.meta. Flag 1: magic, version and checksum are put right.

#include <bit>

#include "fuzz/target.h"

namespace tailrace::fuzz {
namespace {

void run(Input input) {
  const bool right = (input.byte() & 1) != 0;
  std::string bytes(input.left(), '\0');
  input.take(bytes.data(), bytes.size());
  if (right && bytes.size() >= sizeof(LogMeta)) {
    auto meta = load<LogMeta>(bytes.data());
    seal(meta);
    store(bytes.data(), meta);
  }
  const auto meta = parse_log_meta(as_bytes(bytes), "log.meta");
  if (!meta) {
    TAILRACE_REQUIRE(meta.error().code() == errc::not_a_log ||
                     meta.error().code() == errc::unsupported_version);
    TAILRACE_REQUIRE(meta.error().path() == "log.meta" && !meta.error().message().empty());
    return;
  }
  TAILRACE_REQUIRE(std::has_single_bit(meta->segment_size_bytes));
  TAILRACE_REQUIRE(meta->segment_size_bytes >= kMinSegmentSizeBytes);
  TAILRACE_REQUIRE(meta->segment_size_bytes <= kMaxSegmentSizeBytes);
  TAILRACE_REQUIRE(meta->journal_size_bytes >= kMinJournalSizeBytes);
  TAILRACE_REQUIRE(meta->journal_size_bytes % 4096 == 0);
  LogMeta again = *meta;
  seal(again);
  TAILRACE_REQUIRE(std::memcmp(&again, bytes.data(), sizeof again) == 0);
}

}  // namespace
}  // namespace tailrace::fuzz

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  tailrace::fuzz::run({data, size});
  return 0;
}
