#include <sys/mman.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "file/directory.h"
#include "state/snapshot_impl.h"
#include "tailrace/mapped_state.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

namespace tailrace {
namespace {

constexpr std::uint64_t kHugePageBytes = std::uint64_t{2} << 20;
constexpr std::uint64_t kSmallestRoomBytes = std::uint64_t{64} << 20;
constexpr const char* kWhat = "memory of a state";

constexpr std::uint64_t round_up(std::uint64_t bytes, std::uint64_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

/// No state can be larger than this: its pages are private memory.
std::uint64_t memory_of_the_machine() noexcept {
  struct sysinfo info {};
  if (::sysinfo(&info) != 0) return kSmallestRoomBytes;
  return (std::uint64_t{info.totalram} + info.totalswap) * info.mem_unit;
}

std::byte* map_private(void* at, std::uint64_t size_bytes, int flags, int fd, off_t offset) {
  void* const mapped =
      ::mmap(at, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | flags, fd, offset);
  return mapped == MAP_FAILED ? nullptr : static_cast<std::byte*>(mapped);
}

/// Address space that begins where a large page may, touched by nobody yet. `size_bytes` becomes
/// what there is of it, `least_bytes` or more; nullptr: not even that.
std::byte* reserve_room(std::uint64_t& size_bytes, std::uint64_t least_bytes) {
  for (;; size_bytes = std::max(round_up(size_bytes / 2, kHugePageBytes), least_bytes)) {
    const std::uint64_t wanted = size_bytes + kHugePageBytes;
    if (std::byte* const at = map_private(nullptr, wanted, MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {
      const auto address = std::bit_cast<std::uintptr_t>(at);
      const std::uint64_t before = round_up(address, kHugePageBytes) - address;
      if (before != 0) ::munmap(at, before);
      const std::uint64_t behind = kHugePageBytes - before;
      if (behind != 0) ::munmap(at + before + size_bytes, behind);
      return at + before;
    }
    if (size_bytes == least_bytes) return nullptr;
  }
}

}  // namespace

Result<StateMemory> StateMemory::reserve() {
  std::uint64_t size_bytes =
      std::max(round_up(memory_of_the_machine(), kHugePageBytes), kSmallestRoomBytes);
  std::byte* const at = reserve_room(size_bytes, kSmallestRoomBytes);
  if (at == nullptr) return fail(sys_error("no address space", kWhat, errno));
  // Large pages make the fork of a snapshot cheap. The last one holds nothing but the segment's
  // end. Refused where the kernel has none: then it is small ones.
  ::madvise(at, size_bytes - kHugePageBytes, MADV_HUGEPAGE);
  return StateMemory(at, size_bytes);
}

Result<StateMemory> StateMemory::over(const Snapshot& snapshot) {
  const std::uint64_t body_bytes = snapshot.body().size();
  if (body_bytes < sizeof(Head)) {
    return fail(Error(errc::corrupt, "no mapped state").path(snapshot.info().path));
  }
  const std::uint64_t least_bytes = round_up(body_bytes, kHugePageBytes) + kHugePageBytes;
  std::uint64_t size_bytes = std::max(
      {round_up(memory_of_the_machine(), kHugePageBytes), kSmallestRoomBytes, least_bytes});
  std::byte* const at = reserve_room(size_bytes, least_bytes);
  if (at == nullptr) return fail(sys_error("no address space", kWhat, errno));
  StateMemory memory(at, size_bytes);  // unmapped if what follows fails
  if (map_private(at, body_bytes, MAP_FIXED | MAP_NORESERVE, SnapshotAccess::fd(snapshot),
                  static_cast<off_t>(kSnapshotHeaderBytes)) == nullptr) {
    return fail(sys_error("cannot map", snapshot.info().path, errno));
  }
  const std::uint64_t behind = round_up(body_bytes, kHugePageBytes);
  ::madvise(at + behind, size_bytes - behind - kHugePageBytes, MADV_HUGEPAGE);
  return memory;
}

Result<const StateMemory::Head*> StateMemory::check(const Snapshot& snapshot,
                                                    std::uint64_t root_size_bytes) {
  const Bytes body = snapshot.body();
  const auto* const head = reinterpret_cast<const Head*>(body.data());
  if (body.size() < sizeof(Head) || head->magic != kMagic ||
      head->segment_size_bytes != body.size() - sizeof(Head) || head->root < sizeof(Head) ||
      head->root > body.size() || head->root % 16 != 0 ||
      body.size() - head->root < root_size_bytes) {
    return fail(Error(errc::corrupt, "no mapped state, or not of this type")
                    .path(snapshot.info().path)
                    .next("give the state another schema, or remove the snapshot"));
  }
  return head;
}

StateMemory::StateMemory(StateMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_bytes_(std::exchange(other.size_bytes_, 0)) {}

StateMemory& StateMemory::operator=(StateMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_bytes_, other.size_bytes_);
  return *this;
}

StateMemory::~StateMemory() {
  if (data_ != nullptr) ::munmap(data_, size_bytes_);
}

}  // namespace tailrace
