#pragma once

#include <boost/interprocess/allocators/allocator.hpp>
#include <boost/interprocess/indexes/iset_index.hpp>
#include <boost/interprocess/managed_external_buffer.hpp>
#include <boost/interprocess/mem_algo/rbtree_best_fit.hpp>
#include <boost/interprocess/sync/mutex_family.hpp>
#include <boost/version.hpp>
#include <type_traits>
#include <typeinfo>

#include "tailrace/snapshot.h"

/// A state that lives in memory as it lies in its snapshot: plain data, and Boost.Interprocess
/// containers (mapped_containers.h) with offset_ptr inside. A restart maps it copy-on-write,
/// another process maps it read-only. Needs Boost's headers (libboost-dev). How to:
/// docs/projections.md
namespace tailrace {

using StateSegment = boost::interprocess::basic_managed_external_buffer<
    char, boost::interprocess::rbtree_best_fit<boost::interprocess::null_mutex_family>,
    boost::interprocess::iset_index>;

/// What containers of a state are given.
template <class T>
using StateAllocator = boost::interprocess::allocator<T, StateSegment::segment_manager>;

/// Room for a state: as much address space as the machine has memory, touched as it is used; large
/// pages where the kernel has them. Format: docs/format.md#mapped-state
class TAILRACE_EXPORT StateMemory {
 public:
  /// What the body of a mapped state begins with.
  struct Head {
    std::uint64_t magic;
    std::uint64_t root;  ///< where the state itself begins, in bytes from here
    std::uint64_t segment_size_bytes;
    std::uint64_t reserved[5];
  };
  static_assert(sizeof(Head) == 64);
  static constexpr std::uint64_t kMagic = 0x314154534C525454;  // "TTRLSTA1" in the file

  /// Empty. Errors: io (no address space).
  [[nodiscard]] static Result<StateMemory> reserve();
  /// A snapshot's body, copied page by page as it is changed; the file stays as it is. Errors: io,
  /// corrupt (too short, or its head makes no sense).
  [[nodiscard]] static Result<StateMemory> over(const Snapshot& snapshot);
  StateMemory(StateMemory&&) noexcept;
  StateMemory& operator=(StateMemory&&) noexcept;
  ~StateMemory();

  [[nodiscard]] Head& head() const noexcept { return *reinterpret_cast<Head*>(data_); }
  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::byte* segment() const noexcept { return data_ + sizeof(Head); }
  /// Of what there may be of a segment.
  [[nodiscard]] std::uint64_t room_bytes() const noexcept { return size_bytes_ - sizeof(Head); }

  /// The head of a body, if it is one with a root of that size. Errors: corrupt.
  [[nodiscard]] static Result<const Head*> check(const Snapshot& snapshot,
                                                 std::uint64_t root_size_bytes);

 private:
  StateMemory(std::byte* data, std::uint64_t size_bytes) noexcept
      : data_(data), size_bytes_(size_bytes) {}
  std::byte* data_ = nullptr;
  std::uint64_t size_bytes_ = 0;
};

/// The schema of a T: `version` is yours (change it with the layout and with what is folded), the
/// rest is what a body's bytes depend on besides.
template <class T>
[[nodiscard]] std::string state_schema(std::string_view version) {
  return std::string(version) + "; " + typeid(T).name() + " " + std::to_string(sizeof(T)) + "/" +
         std::to_string(alignof(T)) + "; boost " BOOST_LIB_VERSION "; abi " +
         std::to_string(__GXX_ABI_VERSION) + "; xxh3";
}

/// A T in memory that can become a snapshot and comes from one. T is plain data, or has a
/// constructor that takes a StateAllocator<std::byte> for its containers; no pointers but
/// offset_ptr, no containers of the standard library. It is never destroyed, only let go of.
/// Threads: one at a time.
template <class T>
class MappedState {
 public:
  /// A new one. Errors: io.
  [[nodiscard]] static Result<MappedState> create();
  /// Goes on from a snapshot of this schema; the snapshot may go. Errors: corrupt, io.
  [[nodiscard]] static Result<MappedState> open(const Snapshot& snapshot);

  [[nodiscard]] T& operator*() noexcept { return *root_; }
  [[nodiscard]] const T& operator*() const noexcept { return *root_; }
  [[nodiscard]] T* operator->() noexcept { return root_; }
  [[nodiscard]] const T* operator->() const noexcept { return root_; }

  [[nodiscard]] StateAllocator<std::byte> allocator() noexcept {
    return {segment_.get_segment_manager()};
  }
  /// What is in use; a snapshot may be larger, by what lies free in between.
  [[nodiscard]] std::uint64_t used_bytes() const noexcept {
    return segment_.get_size() - segment_.get_free_memory();
  }

  /// Writes it as it is now, in a forked child: SnapshotWriter::write_in_child.
  Result<void> write_to(SnapshotWriter& writer);

 private:
  MappedState(StateMemory memory, StateSegment segment, T* root) noexcept
      : memory_(std::move(memory)), segment_(std::move(segment)), root_(root) {}
  StateMemory memory_;
  StateSegment segment_;
  T* root_;
};

/// The newest snapshot of a mapped state, for reading, from any process that may read the log.
/// Lives as long as it is held; open again for a newer one.
template <class T>
class MappedView {
 public:
  /// `version`: what the writer of the state gave to state_schema. Errors: as
  /// Snapshot::open_latest.
  [[nodiscard]] static Result<MappedView> open_latest(const std::filesystem::path& log,
                                                      std::string_view name,
                                                      std::string_view version,
                                                      const SnapshotOptions& options = {});
  [[nodiscard]] const T& operator*() const noexcept { return *root_; }
  [[nodiscard]] const T* operator->() const noexcept { return root_; }
  [[nodiscard]] const Snapshot& snapshot() const noexcept { return snapshot_; }

 private:
  MappedView(Snapshot snapshot, const T* root) noexcept
      : snapshot_(std::move(snapshot)), root_(root) {}
  Snapshot snapshot_;
  const T* root_;
};

// --- the templates ---

template <class T>
Result<MappedState<T>> MappedState<T>::create() {
  auto memory = StateMemory::reserve();
  if (!memory) return fail(memory.error());
  StateSegment segment(boost::interprocess::create_only, memory->segment(), memory->room_bytes());
  void* const at = segment.get_segment_manager()->allocate_aligned(sizeof(T), alignof(T));
  T* root = nullptr;
  if constexpr (std::is_constructible_v<T, StateAllocator<std::byte>>) {
    root = new (at) T(StateAllocator<std::byte>(segment.get_segment_manager()));
  } else {
    root = new (at) T();
  }
  StateMemory::Head& head = memory->head();
  head.magic = StateMemory::kMagic;
  head.root = static_cast<std::uint64_t>(reinterpret_cast<std::byte*>(root) - memory->data());
  return MappedState(std::move(*memory), std::move(segment), root);
}

template <class T>
Result<MappedState<T>> MappedState<T>::open(const Snapshot& snapshot) {
  const auto head = StateMemory::check(snapshot, sizeof(T));
  if (!head) return fail(head.error());
  const std::uint64_t size_bytes = (*head)->segment_size_bytes;
  auto memory = StateMemory::over(snapshot);
  if (!memory) return fail(memory.error());
  StateSegment segment(boost::interprocess::open_only, memory->segment(), size_bytes);
  segment.grow(memory->room_bytes() - size_bytes);
  T* const root = reinterpret_cast<T*>(memory->data() + memory->head().root);
  return MappedState(std::move(*memory), std::move(segment), root);
}

template <class T>
Result<void> MappedState<T>::write_to(SnapshotWriter& writer) {
  // For the moment of the fork the segment ends behind what is in use.
  segment_.get_segment_manager()->shrink_to_fit();
  const std::uint64_t size_bytes = segment_.get_size();
  memory_.head().segment_size_bytes = size_bytes;
  auto forked = writer.write_in_child({memory_.data(), sizeof(StateMemory::Head) + size_bytes});
  segment_.grow(memory_.room_bytes() - size_bytes);
  return forked;
}

template <class T>
Result<MappedView<T>> MappedView<T>::open_latest(const std::filesystem::path& log,
                                                 std::string_view name, std::string_view version,
                                                 const SnapshotOptions& options) {
  auto snapshot = Snapshot::open_latest(log, name, state_schema<T>(version), options);
  if (!snapshot) return fail(snapshot.error());
  const auto head = StateMemory::check(*snapshot, sizeof(T));
  if (!head) return fail(head.error());
  const auto* const root = reinterpret_cast<const T*>(snapshot->body().data() + (*head)->root);
  return MappedView(std::move(*snapshot), root);
}

}  // namespace tailrace
