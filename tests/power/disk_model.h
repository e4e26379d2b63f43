#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "format/control.h"
#include "format/journal.h"

/// A disk that can lose power. It sees every system call with which the engine writes (see
/// interposed_calls.h), and knows of each file what is stable and what has been written since.
///
///   pages of mapped or buffered files   the content at the last sync of that page, and everything
///                                       seen in it since (each can have been written back)
///   durable writes (the journal)        old until they have returned, then stable; in between each
///                                       512-byte sector of them is either
///   directory                           renames and removals, in order, up to the last fsync of
///                                       it; any number of the later ones, in order (a journaling
///                                       file system does not reorder them)
namespace tailrace::test::power {

inline constexpr std::size_t kPageBytes = 4096;
inline constexpr std::size_t kSectorBytes = 512;
inline constexpr std::size_t kSectorsPerPage = kPageBytes / kSectorBytes;

/// A page's bytes, shared by everything that holds the same version of it.
using Page = std::array<std::byte, kPageBytes>;
using PagePtr = std::shared_ptr<const Page>;
using Random = std::mt19937_64;

inline const PagePtr& zero_page() {
  static const PagePtr zeros = std::make_shared<const Page>();
  return zeros;
}
inline PagePtr copy_page(const std::byte* from) {
  auto page = std::make_shared<Page>();
  std::memcpy(page->data(), from, kPageBytes);
  return page;
}
inline bool chance(Random& random, double probability) {
  return std::generate_canonical<double, 32>(random) < probability;
}
inline std::uint64_t below(Random& random, std::uint64_t limit) { return random() % limit; }

/// What a page holds on the disk, and what it may hold instead.
struct PageVersions {
  struct Later {
    std::uint64_t id;
    PagePtr page;
  };
  PagePtr stable = zero_page();
  std::vector<Later> later;  // oldest first; the last one is what was seen last
  [[nodiscard]] const PagePtr& last() const { return later.empty() ? stable : later.back().page; }
};

struct FileVersions {
  std::vector<PageVersions> pages;
  bool stable_size = true;  // the file's length is on the disk; else it may be empty
};

/// A write that has not returned: each of its sectors is old or new.
struct PendingWrite {
  std::uint64_t id = 0;
  std::uint64_t offset = 0;
  std::vector<std::byte> bytes;
};

/// Of a segment in its directory: it has this inode from here on; 0 = it has been removed.
struct DirectoryChange {
  std::string name;
  ino_t inode = 0;
};

/// Everything that may be on the disk when the power goes.
struct Cut {
  std::map<ino_t, FileVersions> segments;
  std::map<std::string, ino_t> names;    // stable
  std::vector<DirectoryChange> changes;  // not yet
  FileVersions journal;
  std::vector<PendingWrite> pending;
  FileVersions control;
  Position acknowledged = 0;  // had been told before
};

class Disk {
 public:
  /// The files below `root` are stable as they are. `cuts`: how many are taken, spread evenly over
  /// all moments that offer themselves.
  Disk(std::filesystem::path root, std::size_t cuts, std::uint64_t seed)
      : root_(std::filesystem::canonical(root)), wanted_(cuts), random_(seed) {
    for (const auto& entry : std::filesystem::directory_iterator(root_ / "segments")) {
      if (entry.path().extension() != ".seg") continue;
      const ino_t inode = watch(entry.path().string(), true);
      names_[entry.path().filename().string()] = inode;
    }
    journal_ = watch((root_ / "journal").string(), true);
    control_ = watch((root_ / "control").string(), true);
    struct stat status {};
    if (::stat((root_ / "segments").c_str(), &status) == 0) directory_ = status.st_ino;
    active().store(this);
  }
  ~Disk() {
    stop();
    for (auto& [inode, file] : files_) ::munmap(const_cast<std::byte*>(file.bytes), file.size);
  }
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;

  /// The disk that the interposed calls tell.
  static std::atomic<Disk*>& active() {
    static std::atomic<Disk*> disk{nullptr};
    return disk;
  }
  void stop() { active().store(nullptr); }

  [[nodiscard]] std::vector<Cut>& cuts() { return cuts_; }

  /// Somebody has been told that the log up to there survives.
  void promise(Position end) {
    Position seen = promised_.load();
    while (seen < end && !promised_.compare_exchange_weak(seen, end)) {
    }
  }

  /// A moment at which the power may go.
  void moment() {
    const std::lock_guard lock(mutex_);
    moment_locked();
  }

  /// Before a sync of bytes [from, to) of the file; `to` = 0: all of it, and its length. The result
  /// goes to synced() once it has succeeded.
  struct Sync {
    ino_t inode = 0;
    std::size_t first_page = 0;
    std::vector<PageVersions::Later> pages;
    bool size = false;
    std::size_t changes = 0;  // of the directory
  };
  Sync before_sync(ino_t inode, std::uint64_t from, std::uint64_t to) {
    const std::lock_guard lock(mutex_);
    moment_locked();
    Sync sync;
    sync.inode = inode;
    if (inode == directory_) sync.changes = changes_.size();
    const auto found = files_.find(inode);
    if (found == files_.end()) return sync;
    File& file = found->second;
    scan(inode, file);
    sync.size = to == 0;
    const std::size_t end =
        to == 0 ? file.versions.pages.size() : (to + kPageBytes - 1) / kPageBytes;
    sync.first_page = from / kPageBytes;
    for (std::size_t i = sync.first_page; i < std::min(end, file.versions.pages.size()); ++i) {
      sync.pages.push_back({next_id_, file.versions.pages[i].last()});
    }
    ++next_id_;
    return sync;
  }
  void synced(const Sync& sync) {
    const std::lock_guard lock(mutex_);
    moment_locked();
    for (std::size_t i = 0; i < sync.changes; ++i) apply(names_, changes_[i]);
    changes_.erase(changes_.begin(), changes_.begin() + static_cast<std::ptrdiff_t>(sync.changes));
    const auto found = files_.find(sync.inode);
    if (found != files_.end()) {
      FileVersions& versions = found->second.versions;
      if (sync.size) versions.stable_size = true;
      for (std::size_t i = 0; i < sync.pages.size(); ++i) {
        PageVersions& page = versions.pages[sync.first_page + i];
        page.stable = sync.pages[i].page;
        std::erase_if(page.later, [&](const auto& v) { return v.id < sync.pages[i].id; });
      }
    }
    moment_locked();
  }

  /// A durable write is handed over. Returns its id, for written(); 0 = not a file of this log.
  std::uint64_t writing(int fd, const void* data, std::size_t size, std::uint64_t offset) {
    if (inode_of(fd) != journal_) return 0;
    const std::lock_guard lock(mutex_);
    moment_locked();
    const auto* const from = static_cast<const std::byte*>(data);
    pending_.push_back({next_id_++, offset, {from, from + size}});
    moment_locked();
    return pending_.back().id;
  }
  void written(std::uint64_t id, bool done) {
    if (id == 0) return;
    const std::lock_guard lock(mutex_);
    moment_locked();
    for (auto write = pending_.begin(); write != pending_.end(); ++write) {
      if (write->id != id) continue;
      if (done) make_stable(*write);
      pending_.erase(write);
      break;
    }
    moment_locked();
  }

  /// A buffered write, before it happens: a new segment file is made known with it.
  void buffered(int fd) {
    const ino_t inode = inode_of(fd);
    std::array<char, 512> path{};
    const std::string link = "/proc/self/fd/" + std::to_string(fd);
    const std::lock_guard lock(mutex_);
    if (!files_.contains(inode) && ::readlink(link.c_str(), path.data(), path.size() - 1) > 0) {
      const std::string_view name = path.data();
      if (name.starts_with(root_.string()) && name.ends_with(".seg.new")) watch(link, false);
    }
    moment_locked();
  }

  /// After the call.
  void changed(int directory, const std::string& name, ino_t inode) {
    if (inode_of(directory) != directory_ || !name.ends_with(".seg")) return;
    const std::lock_guard lock(mutex_);
    changes_.push_back({name, inode});
    moment_locked();
  }

  static ino_t inode_of(int fd) {
    struct stat status {};
    return ::fstat(fd, &status) == 0 ? status.st_ino : 0;
  }

  /// Which file lies at an address of this process, and at which offset of it.
  static std::pair<ino_t, std::uint64_t> file_at(const void* address) {
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
      std::uintptr_t from = 0;
      std::uintptr_t to = 0;
      std::uint64_t offset = 0;
      unsigned long inode = 0;
      if (std::sscanf(line.c_str(), "%lx-%lx %*s %lx %*s %lu", &from, &to, &offset, &inode) != 4) {
        continue;
      }
      const auto at = reinterpret_cast<std::uintptr_t>(address);
      if (at >= from && at < to) return {inode, offset + (at - from)};
    }
    return {0, 0};
  }

  static void apply(std::map<std::string, ino_t>& names, const DirectoryChange& change) {
    if (change.inode == 0) {
      names.erase(change.name);
    } else {
      names[change.name] = change.inode;
    }
  }

 private:
  struct File {
    const std::byte* bytes = nullptr;  // as they are in the page cache
    std::size_t size = 0;
    FileVersions versions;
  };

  ino_t watch(const std::string& path, bool stable) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat status {};
    if (fd < 0 || ::fstat(fd, &status) != 0 ||
        static_cast<std::uint64_t>(status.st_size) % kPageBytes != 0)
      std::abort();
    File file;
    file.size = static_cast<std::size_t>(status.st_size);
    void* const at = ::mmap(nullptr, file.size, PROT_READ, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) std::abort();
    ::close(fd);
    file.bytes = static_cast<const std::byte*>(at);
    file.versions.pages.resize(file.size / kPageBytes);
    file.versions.stable_size = stable;
    for (std::size_t i = 0; stable && i < file.versions.pages.size(); ++i) {
      const std::byte* const page = file.bytes + i * kPageBytes;
      if (std::memcmp(page, zero_page()->data(), kPageBytes) == 0) continue;
      file.versions.pages[i].stable = copy_page(page);
    }
    files_[status.st_ino] = std::move(file);
    return status.st_ino;
  }

  /// Notes what has changed in a file since the last look. Others may be writing to it: what is
  /// seen then is what a disk may see.
  void scan(ino_t inode, File& file) {
    if (inode == journal_) return;
    const std::size_t count = inode == control_ ? 1 : file.versions.pages.size();
    for (std::size_t i = 0; i < count; ++i) {
      const std::byte* const now = file.bytes + i * kPageBytes;
      PageVersions& page = file.versions.pages[i];
      if (std::memcmp(now, page.last()->data(), kPageBytes) == 0) continue;
      constexpr std::size_t kMost = 4;
      if (page.later.size() >= kMost) {
        page.later.erase(page.later.begin() +
                         static_cast<std::ptrdiff_t>(below(random_, page.later.size())));
      }
      page.later.push_back({next_id_++, copy_page(now)});
    }
  }

  void make_stable(const PendingWrite& write) {
    FileVersions& journal = files_[journal_].versions;
    for (std::size_t done = 0; done < write.bytes.size(); done += kPageBytes) {
      const std::size_t page = (write.offset + done) / kPageBytes;
      journal.pages[page].stable = copy_page(write.bytes.data() + done);
    }
  }

  void moment_locked() {
    ++moments_;
    const bool taken = cuts_.size() < wanted_ || below(random_, moments_) < wanted_;
    if (!taken) {
      // Now and then a look, so that something in between can be on the disk as well.
      if (below(random_, 8) == 0) scan_all();
      return;
    }
    const std::size_t place = cuts_.size() < wanted_ ? cuts_.size() : below(random_, wanted_);
    if (place == cuts_.size()) cuts_.emplace_back();
    Cut& cut = cuts_[place];
    cut = {};
    // First what was told, then what is there: later bytes promise no less.
    cut.acknowledged = std::max(promised_.load(), ControlView(files_[control_].bytes).durable());
    scan_all();
    for (const auto& [inode, file] : files_) {
      if (inode == journal_) {
        cut.journal = file.versions;
      } else if (inode == control_) {
        cut.control = file.versions;
      } else {
        cut.segments[inode] = file.versions;
      }
    }
    cut.names = names_;
    cut.changes = changes_;
    cut.pending = pending_;
  }

  void scan_all() {
    for (auto& [inode, file] : files_) scan(inode, file);
  }

  std::filesystem::path root_;
  std::atomic<Position> promised_{0};
  std::mutex mutex_;
  std::size_t wanted_;
  std::uint64_t moments_ = 0;
  Random random_;
  std::vector<Cut> cuts_;
  std::map<ino_t, File> files_;
  std::map<std::string, ino_t> names_;
  std::vector<DirectoryChange> changes_;
  std::vector<PendingWrite> pending_;
  ino_t journal_ = 0;
  ino_t control_ = 0;
  ino_t directory_ = 0;
  std::uint64_t next_id_ = 1;
};

}  // namespace tailrace::test::power
