#pragma once

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "common/temp_log.h"
#include "format/activity.h"
#include "format/control.h"
#include "format/frame.h"
#include "format/index_entry.h"
#include "format/journal.h"
#include "format/segment_header.h"

namespace tailrace::test {

using FileBytes = std::vector<std::byte>;

inline FileBytes read_file(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  const Bytes bytes = as_bytes(text);
  return {bytes.begin(), bytes.end()};
}

inline void overwrite_file(const std::filesystem::path& path, Bytes bytes) {
  std::ofstream stream(path, std::ios::binary | std::ios::trunc);
  stream.write(as_text(bytes).data(), static_cast<std::streamsize>(bytes.size()));
}

/// What `hexdump -C` prints, without the text column: repeated lines become one "*".
inline std::string dump(Bytes bytes) {
  std::ostringstream out;
  out << std::hex;
  out.fill('0');
  Bytes last;
  bool starred = false;
  for (std::size_t at = 0; at < bytes.size(); at += 16) {
    const Bytes line = bytes.subspan(at, std::min<std::size_t>(16, bytes.size() - at));
    const bool same = line.size() == last.size() && as_text(line) == as_text(last);
    last = line;
    if (same) {
      if (!starred) out << "*\n";
      starred = true;
      continue;
    }
    starred = false;
    out.width(8);
    out << at << ' ';
    for (std::size_t i = 0; i < line.size(); ++i) {
      out << (i % 8 == 0 && i != 0 ? "  " : " ");
      out.width(2);
      out << std::to_integer<unsigned>(line[i]);
    }
    out << '\n';
  }
  out.width(8);
  out << bytes.size() << '\n';
  return out.str();
}

/// The bytes of such a dump. What follows "|" in a line is a remark.
inline FileBytes undump(const std::string& text) {
  FileBytes bytes;
  std::istringstream lines(text);
  std::string line;
  while (std::getline(lines, line)) {
    if (line == "*") continue;
    std::istringstream words(line.substr(0, line.find('|')));
    std::size_t at = 0;
    if (!(words >> std::hex >> at)) continue;
    while (bytes.size() < at) bytes.push_back(bytes[bytes.size() - 16]);  // the lines left out
    unsigned byte = 0;
    while (words >> std::hex >> byte) bytes.push_back(static_cast<std::byte>(byte));
  }
  return bytes;
}

/// The dumps of docs/format.md, by the file name that the block's first line gives: "# NAME".
inline std::map<std::string, FileBytes> dumps_of_the_document(const std::filesystem::path& page) {
  std::map<std::string, FileBytes> dumps;
  std::ifstream stream(page);
  std::string line, name, text;
  bool inside = false;
  while (std::getline(stream, line)) {
    if (line.starts_with("```")) {
      if (!name.empty()) dumps[name] = undump(text);
      inside = line == "```dump";
      name.clear();
      text.clear();
    } else if (inside && name.empty()) {
      name = line.substr(2);
    } else if (inside) {
      text += line + "\n";
    }
  }
  return dumps;
}

/// Sets everything in an engine-written log that differs from run to run (times, boot, process) to
/// the example's values, and makes the checksums right again. Everything else stays.
class Normaliser {
 public:
  static constexpr std::int64_t kFirstTime = 1'003'622'400'000'000'000;  // 2001-10-21
  static constexpr std::int64_t kTick = 1'000'000'000;

  explicit Normaliser(const LogMeta& meta) : meta_(meta) {}

  /// Segments in their order.
  void segment(FileBytes& bytes, std::uint64_t number) {
    const auto header = read_header(bytes.data(), meta_, number);
    ASSERT_TRUE(header);
    EXPECT_EQ(header->previous_last_timestamp_ns, original_) << "the header's last timestamp";
    publish_header(bytes.data(), meta_,
                   {number, header->epoch, header->previous_last_sequence, header->previous_end,
                    time_, kFirstTime});
    const Position base = number * meta_.segment_size_bytes;
    FrameExpected expected{frame_crc_seed(meta_.salt), header->first_sequence, header->epoch};
    bool inside_batch = false;
    for (std::uint64_t at = kSegmentHeaderBytes; at < bytes.size();) {
      const FrameLook look = check_frame(&bytes[at], bytes.size() - at, base + at, expected);
      if (look.state == FrameState::empty) return;
      ASSERT_EQ(look.state, FrameState::valid) << describe(look.state) << " at " << base + at;
      const bool shares = inside_batch || look.kind == FrameKind::padding;
      if (shares) {
        EXPECT_EQ(look.timestamp_ns, original_) << "shares the time at " << base + at;
      }
      if (!shares) time_ = time_ == 0 ? kFirstTime : time_ + kTick;
      EXPECT_GE(look.timestamp_ns, original_) << "time fell at " << base + at;
      original_ = look.timestamp_ns;
      before_[base + at] = last_;
      last_ = time_;
      store(&bytes[at + frame_offset::kTimestamp], time_);
      store(&bytes[at + frame_offset::kCrc],
            frame_crc(&bytes[at], look.size, base + at, expected.crc_seed));
      if (look.is_record()) ++expected.sequence;
      if (look.kind == FrameKind::epoch_start) {
        expected.epoch = load<Epoch>(&bytes[at + kFrameHeaderBytes]);
      }
      inside_batch = look.goes_on();
      if (look.kind == FrameKind::padding) return;
      at += frame_span(look.size);
    }
  }

  /// After the segments.
  void index(FileBytes& bytes) const {
    ASSERT_EQ(bytes.size() % sizeof(IndexEntry), 0u);
    for (std::size_t at = 0; at < bytes.size(); at += sizeof(IndexEntry)) {
      auto mark = read_index_entry(load<IndexEntry>(&bytes[at]), meta_.salt);
      ASSERT_TRUE(mark);
      ASSERT_TRUE(before_.contains(mark->position)) << "no frame begins at " << mark->position;
      mark->timestamp_ns = before_.at(mark->position);
      store(&bytes[at], make_index_entry(*mark, meta_.salt));
    }
  }

  static void control(FileBytes& bytes) {
    auto control = load<Control>(bytes.data());
    for (std::uint8_t& byte : control.boot_id) byte = 0xb0;
    control.pid = 4711;
    control.pid_start_time = 12345;
    control.heartbeat_ns = 1'000'000'000;
    store(bytes.data(), control);
    store(bytes.data() + kActivityAt, Activity{});
  }

  /// A closed log's journal: the newest anchor, as if the ring had not been used, and nothing else.
  void closed_journal(FileBytes& bytes) const {
    auto anchor = read_anchor(bytes.data(), meta_);
    const auto second = read_anchor(bytes.data() + kJournalBlockBytes, meta_);
    ASSERT_TRUE(anchor && second);
    if (second->generation > anchor->generation) anchor = second;
    EXPECT_EQ(anchor->flags, kAnchorClean);
    set_nonce(anchor->nonce);
    anchor->generation = 9;
    anchor->oldest_number = 1;
    anchor->oldest_offset = kJournalRingAt;
    anchor->predecessor_crc = 0;
    std::fill(bytes.begin(), bytes.end(), std::byte{0});
    put_anchor(bytes.data(), *anchor, meta_);
  }

  /// The journal of a first writer that has committed three entries, all in the first segment.
  void running_journal(FileBytes& bytes) {
    for (const std::uint64_t block : {std::uint64_t{0}, kJournalBlockBytes}) {
      auto anchor = read_anchor(bytes.data() + block, meta_);
      ASSERT_TRUE(anchor);
      set_nonce(anchor->nonce);
      put_anchor(bytes.data() + block, *anchor, meta_);
    }
    FileBytes image(meta_.segment_size_bytes);
    const auto each_entry = [&](auto&& visit) {
      std::uint64_t at = kJournalRingAt;
      for (int i = 0; i < 3; ++i) {
        const auto header = load<JournalEntry>(&bytes[at]);
        visit(header, &bytes[at], &bytes[at + sizeof header]);
        at += entry_span(header.length);
      }
      return at;
    };
    const std::uint64_t end =
        each_entry([&](const JournalEntry& header, const std::byte*, const std::byte* body) {
          std::memcpy(&image[header.position], body, header.length);
        });
    EXPECT_TRUE(std::all_of(bytes.begin() + static_cast<std::ptrdiff_t>(end), bytes.end(),
                            [](std::byte byte) { return byte == std::byte{0}; }));
    segment(image, 0);
    std::uint32_t crc = 0;
    each_entry([&](JournalEntry header, std::byte* at, std::byte* body) {
      std::memcpy(body, &image[header.position], header.length);
      set_nonce(header.nonce);
      header.previous_crc = crc;
      crc = put_entry(at, header, meta_);
    });
  }

 private:
  static void set_nonce(std::uint8_t* nonce) {
    std::iota(nonce, nonce + sizeof JournalAnchor::nonce, std::uint8_t{0x20});
  }

  const LogMeta meta_;
  std::int64_t time_ = 0;      // the example's, of the frame before
  std::int64_t last_ = 0;      // the same, behind it
  std::int64_t original_ = 0;  // the engine's
  std::map<Position, std::int64_t> before_;
};

}  // namespace tailrace::test
