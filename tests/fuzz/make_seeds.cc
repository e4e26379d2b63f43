// Writes the seeds of the corpus: make_seeds DIRECTORY. What fuzzing found on top of them was added
// by libFuzzer's -merge. docs/testing.md

#include <fstream>

#include "format/frame.h"
#include "format/index_entry.h"
#include "format/journal.h"
#include "format/segment_header.h"
#include "fuzz/journal.h"
#include "fuzz/segment.h"
#include "fuzz/target.h"
#include "serve/request_codec.h"

namespace tailrace::fuzz {
namespace {

class Seeds {
 public:
  explicit Seeds(std::filesystem::path directory) : directory_(std::move(directory)) {}
  void write(const char* target, const char* name, int flags, const std::string& bytes) const {
    std::filesystem::create_directories(directory_ / target);
    std::ofstream stream(directory_ / target / name, std::ios::binary);
    stream.put(static_cast<char>(flags));
    stream.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    TAILRACE_REQUIRE(stream.flush());
  }

 private:
  std::filesystem::path directory_;
};

template <class T>
std::string raw(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

/// One frame, padded; the target puts sequence, epoch and checksum right.
std::string frame(FrameKind kind, std::string_view payload,
                  std::initializer_list<std::string_view> keys = {}) {
  std::string bytes(32 + 512, '\0');
  auto* const at = reinterpret_cast<std::byte*>(bytes.data());
  std::byte* key_at = at + kFrameHeaderBytes;
  if (has_flag(kind, kHasEventId)) key_at = put_event_id(key_at, {});
  for (const std::string_view key : keys) key_at = put_key(key_at, key, {});
  const auto key_bytes = static_cast<std::uint64_t>(key_at - at) - kFrameHeaderBytes;
  const std::uint64_t size = kFrameHeaderBytes + key_bytes + payload.size();
  const FrameHead head{1, 1000, 5, 0, kind, static_cast<std::uint8_t>(keys.size())};
  static_cast<void>(put_head(at, head, 0, static_cast<std::uint32_t>(size), 0));
  store(at, static_cast<std::uint32_t>(size));
  bytes.resize(frame_span(size));
  bytes.replace(kFrameHeaderBytes + key_bytes, payload.size(), payload);
  return bytes;
}

void segment_seeds(const Seeds& seeds) {
  using namespace segment_input;
  const int all = kRightHeader | kRightFields | kRightCrc;
  const std::string header = raw(std::uint64_t{10}) + raw(std::uint64_t{2}) +
                             raw(kNumber * kSegmentBytes) + raw(std::uint64_t{1000});
  const std::string epoch = frame(FrameKind::epoch_start, raw(std::uint64_t{3}));
  const std::string record = frame(FrameKind::record, "hello");
  const std::string keyed = frame(FrameKind::record, "x", {"user:ada", "a longer key than that"});
  const std::string padding = frame(FrameKind::padding, "");
  const std::string batch = frame(FrameKind::batch_record, "one", {"k"}) +
                            frame(FrameKind::batch_record, "") + frame(FrameKind::record, "three");
  seeds.write("segment", "records", all, header + epoch + record + keyed + record);
  seeds.write("segment", "batch", all, header + batch + record + std::string(64, '\0'));
  seeds.write("segment", "unfinished_batch", all,
              header + record + frame(FrameKind::batch_record, "one") + epoch);
  const std::string with_id = frame(FrameKind::record_with_id, "once", {"k"});
  const std::string batch_with_id = frame(FrameKind::batch_record_with_id, "one", {"k", "l"});
  seeds.write("segment", "event_ids", all, header + with_id + batch_with_id + keyed + with_id);
  seeds.write("segment", "event_id_inside_a_batch", all, header + batch_with_id + with_id);
  seeds.write("segment", "padding", all, header + record + padding);
  seeds.write("segment", "to_the_end", all | kAtTheEnd, header + keyed + batch + record);
  seeds.write("segment", "padding_at_the_end", all | kAtTheEnd, header + record + padding);
  seeds.write("segment", "wrong_checksums", kRightHeader | kRightFields, header + record + keyed);
  seeds.write("segment", "wrong_fields", kRightHeader | kRightCrc, header + epoch + record);
  seeds.write("segment", "wrong_header", kRightCrc, header + raw(kSegmentMagic) + record);
  seeds.write("segment", "empty", all, "");
  std::string many = header;
  for (int i = 0; i < 200; ++i) many += i % 3 == 0 ? batch : keyed;
  seeds.write("segment", "many", all, many);
}

std::string in_block(std::string bytes) {
  bytes.resize(journal_input::kBytesPerBlock);
  return bytes;
}

std::string anchor_block(std::uint64_t generation, std::uint64_t oldest_offset, Position synced_to,
                         std::uint32_t flags = 0) {
  JournalAnchor anchor{};
  anchor.magic = kAnchorMagic;
  std::memset(anchor.nonce, 0x77, sizeof anchor.nonce);
  anchor.generation = generation;
  anchor.epoch = 1;
  anchor.oldest_number = 1;
  anchor.oldest_offset = oldest_offset;
  anchor.flags = flags;
  anchor.synced_to = synced_to;
  return in_block(raw(anchor));
}

std::string entry_block(std::uint64_t number, Position position, std::uint64_t length,
                        Position synced_to = 0, const std::string& body = {}) {
  JournalEntry entry{};
  entry.magic = kEntryMagic;
  std::memset(entry.nonce, 0x77, sizeof entry.nonce);
  entry.epoch = 1;
  entry.number = number;
  entry.position = position;
  entry.length = length;
  entry.acked = number - 1;
  entry.synced_to = synced_to;
  return in_block(raw(entry) + body);
}

void journal_seeds(const Seeds& seeds) {
  using namespace journal_input;
  const int all = kRightAnchors | kRightChain | kRightPositions | kRightCrc;
  const std::string anchors = anchor_block(1, 8192, 0) + anchor_block(2, 8192, 0);
  const std::string none = in_block("");
  const std::string three =
      entry_block(1, 0, 4200) + none + entry_block(2, 0, 96, 0, "body") + entry_block(3, 0, 0);
  seeds.write("journal", "three_entries", all, anchors + three);
  seeds.write("journal", "one_anchor", all, none + anchor_block(7, 8192, 4096) + three);
  seeds.write(
      "journal", "clean", all,
      anchors.substr(0, kBytesPerBlock) + anchor_block(3, 8192, 4096, kAnchorClean) + three);
  seeds.write("journal", "evidence", all,
              anchors + entry_block(1, 0, 32) + none + entry_block(3, 64, 0));
  seeds.write("journal", "gap_that_is_synced", kRightAnchors | kRightChain | kRightCrc,
              anchors + entry_block(1, 0, 4096) + none +
                  entry_block(2, 3 << 20, 500, (3 << 20) + 100) +
                  entry_block(3, (3 << 20) + 500, 64));
  seeds.write("journal", "over_a_segments_end", kRightAnchors | kRightChain | kRightCrc,
              anchor_block(1, 8192, (1 << 20) - 512) + anchor_block(2, 8192, (1 << 20) - 512) +
                  entry_block(1, (1 << 20) - 512, 60000));
  seeds.write("journal", "far_away", kRightAnchors | kRightChain | kRightCrc,
              anchor_block(1, 8192, ~std::uint64_t{0} - 5000) + none +
                  entry_block(1, ~std::uint64_t{0} - 5000, 8000));
  std::string long_one = anchor_block(1, kMinJournalSizeBytes - 8192, 0);
  while (long_one.size() < 62 * kBytesPerBlock) long_one += none;
  seeds.write("journal", "too_long_for_the_ring", all, long_one + entry_block(1, 0, 20000));
  std::string wrapped = anchor_block(1, kMinJournalSizeBytes - 8192, 0) + none + three;
  for (std::uint64_t at = 6 * kJournalBlockBytes; at < kMinJournalSizeBytes - 8192;
       at += kJournalBlockBytes) {
    wrapped += none;
  }
  seeds.write("journal", "wrapped", all, wrapped + entry_block(1, 0, 4000));
  seeds.write("journal", "wrong_checksums", kRightAnchors | kRightChain, anchors + three);
  seeds.write("journal", "no_anchor", 0, anchors + three);
}

void other_seeds(const Seeds& seeds) {
  LogMeta meta = fixed_meta();
  seeds.write("log_meta", "right", 0, raw(meta));
  seeds.write("log_meta", "sealed", 1, raw(meta));
  seeds.write("log_meta", "longer", 1, raw(meta) + "behind");
  seeds.write("log_meta", "short", 0, raw(meta).substr(0, 100));
  meta.id_window = 1;
  seeds.write("log_meta", "id_window", 1, raw(meta));
  meta.reserved[0] = 1;
  seeds.write("log_meta", "reserved", 1, raw(meta));

  std::string entries;
  for (std::uint64_t i = 1; i <= 20; ++i) {
    const Position position = (2 << 20) + 4096 + i * 40960;
    entries += raw(
        make_index_entry({position, i * 10, static_cast<std::int64_t>(i), 1}, fixed_meta().salt));
  }
  seeds.write("index", "right", 0, entries);
  seeds.write("index", "sealed", 1, entries);
  seeds.write("index", "in_order", 3, entries);
  seeds.write("index", "torn", 1, entries.substr(0, 130));
  seeds.write("index", "empty", 0, "");
}

template <class T>
std::string encoded(const T& request) {
  std::string bytes(encoded_bytes(request), '\0');
  auto* const at = reinterpret_cast<std::byte*>(bytes.data());
  if constexpr (std::is_same_v<T, Request>) {
    encode_request(request, at);
  } else {
    encode_lease(request, at);
  }
  return bytes;
}

void request_seeds(const Seeds& seeds) {
  const std::string_view keys[] = {"user:ada", "team:x"};
  RecordInput records[] = {{as_bytes("hello"), 7, keys, 1000, 1}, {as_bytes(""), 8}};
  const Query query = {{{1, 2}, {"course:9"}}, {{}, {"a", "b"}}};
  const Condition conditions[] = {Condition::absent("user:ada"), Condition::version("team:x", 3),
                                  Condition::no_match(query, 12), Condition::last_sequence(5),
                                  Condition::fence("lease", {3, 9})};
  Request request{records, conditions, EventId{}};
  seeds.write("request", "all_of_it", 0, encoded(request));
  seeds.write("request", "one_record", 0, encoded(Request{{records, 1}}));
  seeds.write("request", "query", 0, encoded(Request{{records, 1}, {conditions + 2, 1}}));
  seeds.write("request", "short", 0, encoded(request).substr(0, 100));
  seeds.write("request", "nothing", 0, encoded(Request{}));
  seeds.write("request", "acquire", 1, encoded(LeaseRequest{"leader", "host-7", 5'000'000'000}));
  seeds.write("request", "renew", 1, encoded(LeaseRequest{"leader", "", 0, {3, 9}}));
}

}  // namespace
}  // namespace tailrace::fuzz

int main(int count, char** arguments) {
  if (count != 2) {
    std::fprintf(stderr, "usage: make_seeds DIRECTORY\n");
    return 2;
  }
  const tailrace::fuzz::Seeds seeds(arguments[1]);
  tailrace::fuzz::segment_seeds(seeds);
  tailrace::fuzz::journal_seeds(seeds);
  tailrace::fuzz::other_seeds(seeds);
  tailrace::fuzz::request_seeds(seeds);
  return 0;
}
