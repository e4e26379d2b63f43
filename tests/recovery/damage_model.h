#pragma once

#include <algorithm>
#include <set>

#include "common/damage.h"
#include "format/frame.h"
#include "format/segment_header.h"

/// What must be found in a log some of whose bytes are not what had been written. Made from
/// docs/format.md ("Walking the journal", "Laying the entries over the segments", "Reading a log at
/// rest") and from one simplification: a structure is right if and only if its bytes are those that
/// were written. No checksum is computed here.
namespace tailrace::test {

/// The bytes of a log's files, segments by number.
struct Images {
  std::vector<std::string> segments;
  std::string journal;
  Position acknowledged = 0;  // what control.durable says

  static Images of(const std::filesystem::path& log) {
    Images images;
    std::set<std::filesystem::path> names;
    for (const auto& file : std::filesystem::directory_iterator(log / "segments")) {
      if (file.path().extension() == ".seg") names.insert(file.path());
    }
    for (const auto& name : names) images.segments.push_back(file_bytes(name));
    images.journal = file_bytes(log / "journal");
    images.acknowledged = control_durable(log);
    return images;
  }
};

/// A frame that was written.
struct TrueFrame {
  Position position = 0;
  std::uint64_t size = 0;
  Sequence sequence = 0;  // expected there
  FrameKind kind{};
  Position end = 0;  // where the next one begins
};

struct TrueEntry {
  std::uint64_t offset = 0;
  JournalEntry header{};
  [[nodiscard]] Position end() const { return header.position + header.length; }
};

struct Expected {
  Verdict verdict = Verdict::ok;
  std::string file;
  std::uint64_t offset = 0;
  Sequence sequence = 0;
  std::uint64_t bytes = 0;
  std::uint64_t records = 0;
  Position end = 0;        // of what is right
  Sequence next = 1;       // the sequence of the record behind that
  Position bad = 0;        // the frame that is wrong, at `end` or behind
  Position durable = 0;    // D
  Position synced_to = 0;  // T
};

class DamageModel {
 public:
  DamageModel(Images written, const LogMeta& meta, const std::vector<Images>& earlier)
      : written_(std::move(written)), meta_(meta), size_(meta.segment_size_bytes) {
    for (std::uint64_t n = 0; n < written_.segments.size(); ++n) find_frames(n);
    for (std::uint64_t block : {0U, 1U}) {
      learn_anchor(written_.journal, block);
      for (const Images& images : earlier) learn_anchor(images.journal, block);
    }
    find_entries();
  }

  [[nodiscard]] const Images& written() const { return written_; }
  [[nodiscard]] const std::vector<TrueFrame>& frames() const { return frames_; }
  [[nodiscard]] const std::map<std::uint64_t, TrueEntry>& entries() const { return entries_; }
  [[nodiscard]] Position end() const { return frames_.back().end; }
  [[nodiscard]] bool entry_right(const Images& now, const TrueEntry& entry) const {
    return same(now.journal, written_.journal, entry.offset,
                entry.offset + sizeof(JournalEntry) + entry.header.length);
  }
  /// The sequence of the first record at or behind a position.
  [[nodiscard]] Sequence sequence_at(Position position) const {
    for (const TrueFrame& frame : frames_) {
      if (frame.position >= position) return frame.sequence;
    }
    return last_sequence() + 1;
  }
  [[nodiscard]] Sequence last_sequence() const {
    return frames_.back().sequence - (is_record(frames_.back()) ? 0 : 1);
  }
  static bool is_record(const TrueFrame& frame) {
    return tailrace::is_record(frame.kind);
  }

  enum class From : std::uint8_t { start, synced };
  /// What verify (from the start), or opening for writing, must say of a log whose files are `now`.
  [[nodiscard]] Expected judge(const Images& now, From from) const {
    Expected found;
    if (now.journal.size() < meta_.journal_size_bytes) {
      found.verdict = Verdict::corrupt;
      found.file = "journal";
      return found;
    }
    const Walk journal = walk_journal(now);
    found.durable = journal.durable;
    found.synced_to = journal.synced_to;
    std::uint64_t number = 0;
    if (from == From::synced) {
      number = std::min(journal.synced_to / size_, now.segments.size());
      const auto usable = [&](std::uint64_t n) {
        return n < now.segments.size() && header_right(now, n, journal);
      };
      while (number > 0 && !usable(number)) --number;
    }
    bool corrupt = walk_segments(now, number, journal, found) || found.end < journal.durable;
    found.file = segment_name(found.bad / size_);
    found.offset = found.bad % size_;
    if (!corrupt && (!journal.anchor || journal.evidence || journal.durable < now.acknowledged)) {
      corrupt = true;
      found.file = "journal";
      found.offset = journal.offset;
      found.sequence = found.next;
    }
    if (corrupt) {
      found.verdict = Verdict::corrupt;
      found.bytes = found.records = 0;
    } else {
      find_tail(now, found);
    }
    return found;
  }

 private:
  struct Walk {
    bool anchor = false;
    bool evidence = false;
    Position synced_to = 0;
    Position durable = 0;
    std::uint64_t offset = 0;
    [[nodiscard]] bool touches(Position base, std::uint64_t size) const {
      return std::max(base, synced_to) < std::min(base + size, durable);
    }
  };

  /// Whether [from, to) is the same in both; what lies behind a file's end counts as zeros.
  static bool same(const std::string& a, const std::string& b, std::uint64_t from,
                   std::uint64_t to) {
    const std::uint64_t both = std::min({a.size(), b.size(), to});
    if (from < both && std::memcmp(a.data() + from, b.data() + from, both - from) != 0) {
      return false;
    }
    for (const std::string* const longer : {&a, &b}) {
      for (std::uint64_t at = std::max(from, both); at < std::min(longer->size(), to); ++at) {
        if ((*longer)[at] != 0) return false;
      }
    }
    return true;
  }

  /// Where the last byte from `from` on ends that is not zero, or a place at or before `from`.
  static std::uint64_t nonzero_end(const std::string& bytes, std::uint64_t from) {
    std::uint64_t to = bytes.size();
    while (to >= from + 8 && load<std::uint64_t>(bytes.data() + to - 8) == 0) to -= 8;
    while (to > from && bytes[to - 1] == 0) --to;
    return to;
  }

  void find_frames(std::uint64_t number) {
    const std::string& bytes = written_.segments[number];
    const auto header = load<SegmentHeader>(bytes.data());
    if (header.magic != kSegmentMagic) return;  // prepared
    first_sequence_.push_back(header.first_sequence);
    Sequence sequence = header.first_sequence;
    for (std::uint64_t at = kSegmentHeaderBytes; at < size_;) {
      const char* const frame = bytes.data() + at;
      const auto size = load<std::uint32_t>(frame);
      if (size == 0) break;
      const auto kind = load<FrameKind>(frame + frame_offset::kKind);
      const Position base = number * size_;
      const bool padding = kind == FrameKind::padding;
      frames_.push_back(
          {base + at, size, sequence, kind, padding ? base + size_ : base + at + frame_span(size)});
      if (is_record(frames_.back())) ++sequence;
      at = frames_.back().end - base;
    }
  }

  void learn_anchor(const std::string& journal, std::uint64_t block) {
    const std::string bytes = journal.substr(block * kJournalBlockBytes, kJournalBlockBytes);
    if (read_anchor(reinterpret_cast<const std::byte*>(bytes.data()), meta_)) {
      anchors_.insert(bytes);
    }
  }

  void find_entries() {
    const std::string& journal = written_.journal;
    JournalAnchor newest{};
    for (const std::string& bytes : anchors_) {
      const auto anchor = load<JournalAnchor>(bytes.data());
      if (anchor.generation > newest.generation) newest = anchor;
    }
    for (std::uint64_t at = kJournalRingAt; at < journal.size(); at += kJournalBlockBytes) {
      const auto entry = load<JournalEntry>(journal.data() + at);
      if (entry.magic != kEntryMagic) continue;
      if (std::memcmp(entry.nonce, newest.nonce, sizeof entry.nonce) != 0) continue;
      entries_[entry.number] = {at, entry};
    }
  }

  [[nodiscard]] Walk walk_journal(const Images& now) const {
    Walk walk;
    JournalAnchor newest{};
    for (const std::uint64_t block : {0U, 1U}) {
      const std::string bytes = now.journal.substr(block * kJournalBlockBytes, kJournalBlockBytes);
      if (!anchors_.contains(bytes)) continue;
      const auto anchor = load<JournalAnchor>(bytes.data());
      if (anchor.generation > newest.generation) newest = anchor;
    }
    walk.anchor = newest.generation != 0;
    if (!walk.anchor) return walk;
    walk.synced_to = walk.durable = newest.synced_to;
    walk.offset = newest.oldest_offset;
    std::uint64_t number = newest.oldest_number;
    for (;; ++number) {
      const auto entry = entries_.find(number);
      if (entry == entries_.end() || !entry_right(now, entry->second)) break;
      const JournalEntry& header = entry->second.header;
      walk.synced_to = std::max(walk.synced_to, header.synced_to);
      walk.durable = std::max({walk.durable, header.synced_to, entry->second.end()});
      walk.offset = entry->second.offset + entry_span(header.length);
    }
    for (std::uint64_t at = kJournalRingAt; at < now.journal.size(); at += kJournalBlockBytes) {
      const auto entry = load<JournalEntry>(now.journal.data() + at);
      const bool ours = entry.magic == kEntryMagic &&
                        std::memcmp(entry.nonce, newest.nonce, sizeof entry.nonce) == 0;
      if (ours && entry.number > number && entry.acked >= number) walk.evidence = true;
    }
    return walk;
  }

  /// Whether the log's bytes [from, to), of one segment, are right once the journal lies over them.
  [[nodiscard]] bool right(const Images& now, Position from, Position to, const Walk& walk) const {
    const std::uint64_t number = from / size_;
    const Position base = number * size_;
    const auto file_right = [&](Position a, Position b) {
      return a >= b || same(now.segments[number], written_.segments[number], a - base, b - base);
    };
    return file_right(from, std::min(to, walk.synced_to)) &&
           file_right(std::max({from, walk.synced_to, walk.durable}), to);
  }

  /// The bytes of a segment that count.
  [[nodiscard]] std::uint64_t readable(const Images& now, std::uint64_t number,
                                       const Walk& walk) const {
    if (walk.touches(number * size_, size_)) return size_;
    return align_down(now.segments[number].size(), kFrameAlignment);
  }

  [[nodiscard]] bool header_right(const Images& now, std::uint64_t number, const Walk& walk) const {
    const Position base = number * size_;
    return number < first_sequence_.size() && readable(now, number, walk) >= kSegmentHeaderBytes &&
           right(now, base, base + kSegmentHeaderBytes, walk);
  }

  /// Goes as far as everything is right; whether it is known to be damaged where that ends.
  bool walk_segments(const Images& now, std::uint64_t number, const Walk& walk,
                     Expected& found) const {
    found.end = number * size_;
    for (bool first = true;; first = false, ++number) {
      const Position base = number * size_;
      found.bad = found.end;
      found.sequence = found.next;
      if (number >= now.segments.size()) return false;
      if (!header_right(now, number, walk)) return first && number > 0;
      found.end = base + kSegmentHeaderBytes;
      found.next = first_sequence_[number];
      const std::uint64_t readable_bytes = readable(now, number, walk);
      auto frame = std::lower_bound(
          frames_.begin(), frames_.end(), base,
          [](const TrueFrame& a, Position position) { return a.position < position; });
      std::uint64_t records = 0;  // of the unit
      for (; frame != frames_.end() && frame->position < base + size_; ++frame) {
        found.bad = frame->position;
        found.sequence = frame->sequence;
        if (frame->position - base + frame->size > readable_bytes ||
            !right(now, frame->position, frame->position + frame->size, walk)) {
          return false;
        }
        if (is_record(*frame)) ++records;
        if (is_record(*frame) && has_flag(frame->kind, kBatchGoesOn)) continue;
        found.bytes += frame->end - found.end;
        found.end = frame->end;
        found.records += records;
        found.next += records;
        records = 0;
      }
      found.bad = found.end;
      found.sequence = found.next;
      if (found.end != base + size_) return false;
    }
  }

  void find_tail(const Images& now, Expected& found) const {
    std::uint64_t bytes = 0;
    std::uint64_t records = 0;
    for (std::uint64_t number = found.end / size_; number < now.segments.size(); ++number) {
      const std::string& file = now.segments[number];
      const Position base = number * size_;
      const std::uint64_t in_segment = found.end > base ? found.end - base : 0;
      const std::uint64_t from = std::max(in_segment, kSegmentHeaderBytes);
      const std::uint64_t to = nonzero_end(file, from);
      if (to <= from) continue;
      bytes += to - from;
      for (const TrueFrame& frame : frames_) {
        if (frame.position < base + from || frame.position >= base + size_) continue;
        const std::uint64_t at = frame.position - base;
        records += is_record(frame) && at + frame.size <= align_down(file.size(), 32) &&
                   same(file, written_.segments[number], at, at + frame.size);
      }
    }
    if (bytes == 0) return;
    found.verdict = Verdict::torn_tail;
    found.bytes = bytes;
    found.records = records;
  }

  [[nodiscard]] std::string segment_name(std::uint64_t number) const {
    char name[48];
    std::snprintf(name, sizeof name, "segments/%020llu.seg",
                  static_cast<unsigned long long>(number * size_));
    return name;
  }

  Images written_;
  LogMeta meta_;
  std::uint64_t size_;
  std::vector<TrueFrame> frames_;
  std::vector<Sequence> first_sequence_;
  std::set<std::string> anchors_;  // whole blocks that are valid anchors, of any time
  std::map<std::uint64_t, TrueEntry> entries_;
};

}  // namespace tailrace::test
