#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <new>
#include <string>
#include <vector>

#include "base/arch.h"

/// Work in processes of its own: everything that is measured runs in a forked child, pinned to a
/// core, so that no run inherits another one's threads, mappings or heap.
namespace tailrace::bench {

/// Memory that the parent and its children share.
template <class T>
class Shared {
 public:
  Shared();
  ~Shared();
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  T* operator->() const noexcept { return value_; }
  T& operator*() const noexcept { return *value_; }

 private:
  T* value_;
};

[[nodiscard]] void* map_shared_bytes(std::size_t bytes);
void unmap_shared_bytes(void* at, std::size_t bytes) noexcept;

/// The calling thread runs on this core from now on; -1 = on any.
void pin(int core);

/// How many cores this process may use.
[[nodiscard]] int usable_cores();

/// Says on stderr when others want the cores too: figures of two processes then mean nothing, and
/// no verdict over them does.
void warn_if_busy(const char* when);

/// "1.20 0.80 0.50": over 1, 5 and 15 minutes, this bench included. Empty if unknown.
[[nodiscard]] std::string load_average();

/// Runs each part in a child of its own and waits for all. A part returns false, or dies, when
/// its work failed; then the others are killed. Returns whether all succeeded.
[[nodiscard]] bool run_processes(const std::vector<std::function<bool()>>& parts);

/// Lets `parties` processes start together.
class StartLine {
 public:
  void wait(unsigned parties) {
    arrived_.fetch_add(1);
    while (arrived_.load() < parties) {
      arch::pause();
    }
  }

 private:
  std::atomic<unsigned> arrived_{0};
};

[[nodiscard]] std::int64_t monotonic_ns();

template <class T>
Shared<T>::Shared() : value_(new (map_shared_bytes(sizeof(T))) T()) {}

template <class T>
Shared<T>::~Shared() {
  unmap_shared_bytes(value_, sizeof(T));
}

}  // namespace tailrace::bench
