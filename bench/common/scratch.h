#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>

/// Where a bench puts its files, and memory that is ready to be written to.
namespace tailrace::bench {

/// Runs `work` in a child with a fresh directory of its own, which is removed afterwards however
/// the child ends: done, failed, crashed or interrupted. `parent` empty: /var/tmp, or /dev/shm
/// where that cannot be written. Returns the child's exit code.
[[nodiscard]] int with_scratch(std::filesystem::path parent,
                               const std::function<int(const std::filesystem::path&)>& work);

/// Touches memory and gives it back, so that what follows finds pages that the host has not taken
/// away. Returns the bytes touched: at most `bytes`, and at most a third of what is available.
std::size_t warm_memory(std::size_t bytes);

/// A file mapped for reading and writing by all processes forked from this one, its blocks
/// reserved and its pages present.
class WarmMapping {
 public:
  WarmMapping(const std::filesystem::path& file, std::size_t bytes);
  ~WarmMapping();
  WarmMapping(const WarmMapping&) = delete;
  WarmMapping& operator=(const WarmMapping&) = delete;

  /// Fills this process's page table: a forked child starts with an empty one.
  void populate() const;
  /// Zeroes the first `bytes`.
  void zero(std::size_t bytes) const;

  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return bytes_; }

 private:
  std::byte* data_ = nullptr;
  std::size_t bytes_;
};

}  // namespace tailrace::bench
