#pragma once

#include "common/damage.h"
#include "log/recovery.h"
#include "log/segment_file.h"
#include "power/image.h"
#include "power/interposed_calls.h"
#include "power/work.h"

namespace tailrace::test::power {

/// The log as its writer left it in the end: what recovery finds may only be the begin of it.
struct Reference {
  std::vector<std::byte> bytes;
  std::map<Position, Sequence> ends;  // of whole units: the last sequence before
  std::vector<std::string> payloads;
};

inline Reference read_reference(const std::filesystem::path& path) {
  Reference reference;
  const LogFiles files = must(LogFiles::open(path));
  Cursor end;
  reference.ends[0] = 0;
  for (const std::uint64_t number : must(files.list_segments())) {
    const SegmentFile segment = must(SegmentFile::open(files, number));
    const std::byte* const bytes = segment.mapping.data();
    reference.bytes.insert(reference.bytes.end(), bytes, bytes + segment.mapping.size());
    if (!segment.header || (number > 0 && !links(*segment.header, end))) break;
    end = cursor_at(*segment.header);
    reference.ends[end.position] = end.sequence - 1;
    SegmentWalk walk(bytes, segment.mapping.size(), files.meta, end);
    while (!walk.done() && walk.next() == FrameState::valid) {
      end = walk.at();
      reference.ends[end.position] = end.sequence - 1;
    }
    if (!walk.done()) break;
  }
  Reader reader = must(Reader::open(path));
  reference.payloads = payloads(reader);
  return reference;
}

/// Recovers images and judges what comes out.
class Trial {
 public:
  Trial(const std::filesystem::path& log, std::filesystem::path scratch)
      : meta_bytes_(file_bytes(log / "log.meta")), scratch_(std::move(scratch)) {}

  /// Lays the image out and recovers it with the engine's recover(). Returns where the log then
  /// ends, or nothing and adds a failure.
  std::optional<Position> check(const Image& image, const Reference& reference,
                                Position acknowledged) {
    if (!bench_ || bench_->layout.spoiled()) {
      bench_.reset();
      bench_.emplace(scratch_ / "image", meta_bytes_);
    }
    Layout& layout = bench_->layout;
    layout.put(image);
    bench_->open();
    ImageWatch watch;
    watch.written = [&](ino_t inode, std::uint64_t from, std::uint64_t to) {
      layout.written(inode, from, to);
    };
    watch.remove = [&](int, const std::string& name) { return layout.remove(name); };
    watch.renamed = [&] { layout.spoil(); };
    ImageWatch::active() = &watch;
    auto recovered = recover(*bench_->files, *bench_->control, *bench_->journal);
    ImageWatch::active() = nullptr;
    ++images_;
    if (!recovered) return complain(image, acknowledged, recovered.error().message());
    const Position end = recovered->end.position;
    const auto found = reference.ends.find(end);
    if (end < acknowledged) {
      return complain(image, acknowledged,
                      "acknowledged records are lost, it ends at " + std::to_string(end));
    }
    if (found == reference.ends.end() || found->second != recovered->end.sequence - 1) {
      return complain(image, acknowledged,
                      "no whole number of batches: ends at " + std::to_string(end));
    }
    if (!layout.spoiled() && !same(reference, end)) {
      return complain(image, acknowledged,
                      "other bytes than appended, or something behind " + std::to_string(end));
    }
    return end;
  }

  /// Lays the image out for a writer of its own.
  std::unique_ptr<Layout> lay_out(const Image& image, const std::string& name) {
    auto layout = std::make_unique<Layout>(scratch_ / name, meta_bytes_);
    layout->put(image);
    return layout;
  }

  [[nodiscard]] std::uint64_t images() const { return images_; }
  [[nodiscard]] unsigned failures() const { return failures_; }

 private:
  struct Bench {
    Bench(std::filesystem::path path, const std::string& meta) : layout(std::move(path), meta) {}
    /// The recovery's files are opened once; the images change beneath them.
    void open() {
      if (files) return;
      files.emplace(must(LogFiles::open(layout.path())));
      journal.emplace(must(JournalFile::open_to_read(*files)));
      control.emplace(must(ControlFile::open(*files, Access::write)));
    }
    Layout layout;
    std::optional<LogFiles> files;
    std::optional<JournalFile> journal;
    std::optional<ControlFile> control;
  };

  /// Everything before `end` is as it was appended, nothing but zeros is behind it.
  bool same(const Reference& reference, Position end) const {
    const std::uint64_t last = end / kSegment;
    const std::uint64_t first = images_ % 16 == 0 || last < 1 ? 0 : last - 1;
    for (std::uint64_t number = first;; ++number) {
      const std::byte* const bytes = bench_->layout.segment(bench_->files->segment_name(number));
      const Position base = number * kSegment;
      if (base >= end) return bytes == nullptr;
      if (bytes == nullptr) return false;
      const std::uint64_t in_segment = std::min(end - base, kSegment);
      if (std::memcmp(bytes, reference.bytes.data() + base, in_segment) != 0) return false;
      for (std::uint64_t at = in_segment; at < kSegment; at += kPageBytes) {
        const std::uint64_t size = std::min<std::uint64_t>(kPageBytes, kSegment - at);
        if (std::memcmp(bytes + at, zero_page()->data(), size) != 0) return false;
      }
    }
  }

  std::optional<Position> complain(const Image& image, Position acknowledged,
                                   const std::string& what) {
    const std::string name = "tailrace-cut-" + std::to_string(::getpid());
    const auto kept = std::filesystem::temp_directory_path() / name;
    if (failures_++ == 0) {
      auto layout = std::make_unique<Layout>(kept, meta_bytes_);
      layout->put(image);
      static_cast<void>(layout.release());  // stays, to be looked at
    }
    ADD_FAILURE() << what << "; acknowledged: " << acknowledged << "; the first such image is in "
                  << kept;
    return {};
  }

  std::string meta_bytes_;
  std::filesystem::path scratch_;
  std::optional<Bench> bench_;
  std::uint64_t images_ = 0;
  unsigned failures_ = 0;
};

}  // namespace tailrace::test::power
