#pragma once

#include <algorithm>
#include <functional>
#include <optional>

#include "power/disk_model.h"

/// Disk images that a cut allows, and their layout in a directory.
namespace tailrace::test::power {

/// One image: what each file holds.
struct Image {
  struct Segment {
    std::vector<PagePtr> pages;
    bool empty = false;  // its length never reached the disk
  };
  std::map<std::string, Segment> segments;
  std::vector<PagePtr> journal;
  PagePtr control;
};

/// All images of a cut: which they are is decided unit by unit.
class Images {
 public:
  explicit Images(const Cut& cut) : cut_(cut) {
    for (std::size_t i = 0; i < cut.pending.size(); ++i) {
      const PendingWrite& write = cut.pending[i];
      for (std::size_t at = 0; at < write.bytes.size(); at += kSectorBytes) {
        if (std::memcmp(write.bytes.data() + at, journal_sector(write.offset + at), kSectorBytes) !=
            0)
          sectors_.push_back({i, at});
      }
    }
    for (const auto& [inode, file] : cut.segments) {
      if (!named(inode)) continue;
      for (std::size_t i = 0; i < file.pages.size(); ++i) {
        if (!file.pages[i].later.empty()) pages_.push_back({inode, i});
      }
    }
    control_changed_ = !cut.control.pages[0].later.empty();
  }

  /// Units that can be old or new.
  [[nodiscard]] std::size_t dirty_units() const {
    return sectors_.size() + pages_.size() + (control_changed_ ? 1 : 0);
  }
  /// How many images there are if each unit is old or new.
  [[nodiscard]] std::uint64_t count() const {
    return (std::uint64_t{1} << dirty_units()) * (cut_.changes.size() + 1);
  }

  /// Image `number` of count(): one bit a unit, the rest how much of the directory.
  [[nodiscard]] Image exact(std::uint64_t number) const {
    std::uint64_t bits = number;
    const auto next = [&bits] {
      const bool bit = (bits & 1) != 0;
      bits >>= 1;
      return bit;
    };
    return build([&](Kind) { return next(); }, [] { return false; },
                 [](const PageVersions& page) { return page.last(); },
                 [&] { return static_cast<std::size_t>(bits); });
  }

  /// Any image: a unit may also be as it was in between, a page torn between its sectors, and a
  /// sector of a write that was under way neither old nor new. Where no anchor is being written,
  /// one of the two may be damaged, if a first cut has not done that to the other.
  [[nodiscard]] Image any(Random& random) const {
    constexpr double kShares[] = {0, 0.02, 0.2, 0.5, 0.8, 0.98, 1};
    double share[3];
    for (double& s : share) s = kShares[below(random, std::size(kShares))];
    const bool torn = below(random, 3) == 0;
    const bool between = below(random, 3) == 0;
    const bool shorn = below(random, 4) == 0;
    const auto pick = [&](const PageVersions& page) -> const PagePtr& {
      const std::size_t which = below(random, page.later.size() + 1);
      return which == 0 ? page.stable : page.later[which - 1].page;
    };
    Image image = build([&](Kind kind) { return chance(random, share[static_cast<int>(kind)]); },
                        [&] { return shorn && below(random, 4) == 0; },
                        [&](const PageVersions& page) -> PagePtr {
                          if (torn && below(random, 2) == 0) {
                            auto mixed = std::make_shared<Page>();
                            for (std::size_t at = 0; at < kPageBytes; at += kSectorBytes) {
                              const PagePtr& from =
                                  below(random, 2) == 0 ? page.last() : pick(page);
                              std::memcpy(mixed->data() + at, from->data() + at, kSectorBytes);
                            }
                            return mixed;
                          }
                          return between ? pick(page) : page.last();
                        },
                        [&] { return below(random, cut_.changes.size() + 1); });
    const bool anchored = std::none_of(cut_.pending.begin(), cut_.pending.end(),
                                       [](const auto& w) { return w.offset < kJournalRingAt; });
    if (anchored && below(random, 6) == 0) {
      const std::size_t block = below(random, 2);
      const auto other = load<JournalAnchor>(image.journal[1 - block]->data());
      if (other.magic == kAnchorMagic) image.journal[block] = damaged_page();
    }
    return image;
  }

 private:
  static const PagePtr& damaged_page() {
    static const PagePtr page = [] {
      auto bytes = std::make_shared<Page>();
      bytes->fill(std::byte{0xa5});
      return bytes;
    }();
    return page;
  }

  enum class Kind { sector, page, control };

  [[nodiscard]] bool named(ino_t inode) const {
    return std::any_of(cut_.names.begin(), cut_.names.end(),
                       [&](const auto& name) { return name.second == inode; }) ||
           std::any_of(cut_.changes.begin(), cut_.changes.end(),
                       [&](const auto& change) { return change.inode == inode; });
  }
  [[nodiscard]] const std::byte* journal_sector(std::uint64_t offset) const {
    return cut_.journal.pages[offset / kPageBytes].stable->data() + offset % kPageBytes;
  }

  template <class IsNew, class IsShorn, class Newer, class Changes>
  Image build(IsNew is_new, IsShorn is_shorn, Newer newer, Changes changes) const {
    Image image;
    for (const PageVersions& page : cut_.journal.pages) image.journal.push_back(page.stable);
    std::map<std::size_t, std::shared_ptr<Page>> written;
    for (const auto& [which, at] : sectors_) {
      if (!is_new(Kind::sector)) continue;
      const PendingWrite& write = cut_.pending[which];
      const std::size_t page = (write.offset + at) / kPageBytes;
      auto& copy = written[page];
      if (!copy) copy = std::make_shared<Page>(*image.journal[page]);
      std::byte* const sector = copy->data() + (write.offset + at) % kPageBytes;
      if (is_shorn()) {
        std::memset(sector, 0xa5, kSectorBytes);
      } else {
        std::memcpy(sector, write.bytes.data() + at, kSectorBytes);
      }
    }
    for (auto& [page, bytes] : written) image.journal[page] = bytes;

    std::map<ino_t, std::vector<PagePtr>> files;
    for (const auto& [inode, file] : cut_.segments) {
      if (!named(inode)) continue;
      std::vector<PagePtr>& pages = files[inode];
      pages.reserve(file.pages.size());
      for (const PageVersions& page : file.pages) pages.push_back(page.stable);
    }
    for (const auto& [inode, i] : pages_) {
      if (is_new(Kind::page)) files[inode][i] = newer(cut_.segments.at(inode).pages[i]);
    }
    const PageVersions& control = cut_.control.pages[0];
    image.control = control_changed_ && is_new(Kind::control) ? newer(control) : control.stable;

    std::map<std::string, ino_t> names = cut_.names;
    const std::size_t applied = std::min(changes(), cut_.changes.size());
    for (std::size_t i = 0; i < applied; ++i) Disk::apply(names, cut_.changes[i]);
    for (const auto& [name, inode] : names) {
      const bool empty = !cut_.segments.at(inode).stable_size;
      image.segments[name] = {files.at(inode), empty};
    }
    return image;
  }

  const Cut& cut_;
  std::vector<std::pair<std::size_t, std::size_t>> sectors_;  // write, offset in it
  std::vector<std::pair<ino_t, std::size_t>> pages_;
  bool control_changed_ = false;
};

/// A log's directory whose files are made to hold one image after the other; only what differs is
/// written.
class Layout {
 public:
  Layout(std::filesystem::path root, const std::string& meta_bytes) : root_(std::move(root)) {
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(root_ / "segments");
    std::ofstream(root_ / "log.meta", std::ios::binary) << meta_bytes;
    std::ofstream(root_ / "writer.lock");
    control_ = make(root_ / "control", kControlBytes);
  }
  ~Layout() {
    for (auto* file : all()) ::munmap(file->bytes, file->size);
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }
  Layout(const Layout&) = delete;
  Layout& operator=(const Layout&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return root_; }

  /// Lays an image out, as another boot finds it.
  void put(const Image& image) {
    if (!journal_.bytes) journal_ = make(root_ / "journal", image.journal.size() * kPageBytes);
    put(journal_, image.journal);
    std::memcpy(control_.bytes, image.control->data(), kPageBytes);
    std::memcpy(control_.bytes + offsetof(Control, boot_id), "another boot id!", 16);
    for (auto& [name, file] : segments_) {
      if (!image.segments.contains(name) && file.there) put_away(name, file);
    }
    for (const auto& [name, segment] : image.segments) {
      File& file = segments_[name];
      if (!file.bytes) {
        file = make(root_ / "segments" / name, segment.pages.size() * kPageBytes);
      } else if (!file.there) {
        ::rename((root_ / ("away-" + name)).c_str(), (root_ / "segments" / name).c_str());
        file.there = true;
      }
      put(file, segment.pages);
      if (segment.empty) {
        static_cast<void>(::truncate((root_ / "segments" / name).c_str(), 0));
        spoiled_ = true;
      }
    }
    if (salvaged_) std::filesystem::remove_all(root_ / "salvage");
    salvaged_ = false;
  }

  /// Somebody has written there.
  void written(ino_t inode, std::uint64_t from, std::uint64_t to) {
    for (auto& [name, file] : segments_) {
      if (file.inode != inode) continue;
      for (std::uint64_t i = from / kPageBytes; i * kPageBytes < to; ++i) file.pages[i].reset();
      return;
    }
    salvaged_ = true;
  }
  /// A segment is to be removed: it is put away, to be used again.
  bool remove(const std::string& name) {
    const auto found = segments_.find(name);
    if (found == segments_.end() || !found->second.there) return false;
    put_away(name, found->second);
    return true;
  }
  /// Its files are not those that were made here any more: use another layout.
  void spoil() { spoiled_ = true; }
  [[nodiscard]] bool spoiled() const { return spoiled_; }

  /// A segment's bytes; nothing = it is not there.
  [[nodiscard]] const std::byte* segment(const std::string& name) const {
    const auto found = segments_.find(name);
    return found == segments_.end() || !found->second.there ? nullptr : found->second.bytes;
  }

 private:
  struct File {
    std::byte* bytes = nullptr;
    std::size_t size = 0;
    ino_t inode = 0;
    bool there = true;
    std::vector<PagePtr> pages;  // what they hold; none = unknown
  };

  static File make(const std::filesystem::path& path, std::size_t size) {
    File file;
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ::ftruncate(fd, static_cast<off_t>(size)) != 0) std::abort();
    void* const at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) std::abort();
    file.bytes = static_cast<std::byte*>(at);
    file.size = size;
    file.inode = Disk::inode_of(fd);
    file.pages.assign(size / kPageBytes, zero_page());
    ::close(fd);
    return file;
  }
  static void put(File& file, const std::vector<PagePtr>& pages) {
    for (std::size_t i = 0; i < pages.size(); ++i) {
      if (file.pages[i] == pages[i]) continue;
      std::memcpy(file.bytes + i * kPageBytes, pages[i]->data(), kPageBytes);
      file.pages[i] = pages[i];
    }
  }
  void put_away(const std::string& name, File& file) {
    ::rename((root_ / "segments" / name).c_str(), (root_ / ("away-" + name)).c_str());
    file.there = false;
  }
  std::vector<File*> all() {
    std::vector<File*> files{&control_, &journal_};
    for (auto& [name, file] : segments_) files.push_back(&file);
    std::erase_if(files, [](const File* file) { return file->bytes == nullptr; });
    return files;
  }

  std::filesystem::path root_;
  File control_;
  File journal_;
  std::map<std::string, File> segments_;
  bool spoiled_ = false;
  bool salvaged_ = false;
};

}  // namespace tailrace::test::power
