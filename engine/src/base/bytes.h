#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace tailrace {

static_assert(std::endian::native == std::endian::little, "files and memory are little endian");

template <class T>
[[nodiscard]] inline T load(const void* from) noexcept {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

template <class T>
inline void store(void* to, T value) noexcept {
  std::memcpy(to, &value, sizeof value);
}

[[nodiscard]] constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t unit) noexcept {
  return (value + unit - 1) & ~(unit - 1);
}

[[nodiscard]] constexpr std::uint64_t align_down(std::uint64_t value, std::uint64_t unit) noexcept {
  return value & ~(unit - 1);
}

/// Atomic access to a word in shared memory. Read-only mappings are read through it as well, so
/// the const is cast away: only load may be called on those.
template <class T>
[[nodiscard]] inline std::atomic_ref<T> shared(const void* at) noexcept {
  static_assert(std::atomic_ref<T>::is_always_lock_free);
  return std::atomic_ref<T>(*static_cast<T*>(const_cast<void*>(at)));
}

}  // namespace tailrace
