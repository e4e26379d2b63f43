#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "tailrace/result.h"

namespace tailrace {

enum class Access : std::uint8_t {
  read,
  write,
  copy,  // private: what is stored stays in this process
};

/// A shared mapping of the first size bytes of a file. The descriptor may be closed afterwards.
/// Mappings for writing are not inherited by fork.
class Mapping {
 public:
  Mapping() = default;
  /// Errors: not_a_log (the file is shorter than that), io.
  [[nodiscard]] static Result<Mapping> map(int fd, std::size_t size_bytes, Access access,
                                           const std::string& path);
  /// Zeroed memory without a file, not inherited by fork. `path`: what for. Errors: io.
  [[nodiscard]] static Result<Mapping> anonymous(std::size_t size_bytes, const std::string& path);
  /// The same, but shared with the children that are forked from now on. Errors: io.
  [[nodiscard]] static Result<Mapping> with_children(std::size_t size_bytes,
                                                     const std::string& path);
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();

  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_bytes_; }
  [[nodiscard]] explicit operator bool() const noexcept { return data_ != nullptr; }

  /// Makes the pages of [from, to) present, ready for a store or a load, without changing them.
  /// Errors: no_space, io (a store would have raised SIGBUS).
  Result<void> populate(std::uint64_t from, std::uint64_t to, Access access) const;

  /// Takes the whole pages in [from, to) out of this process's page table; the file keeps what they
  /// hold, and a touch brings them back. For what is going to be synced and not stored to again:
  /// else the kernel write-protects page by page, and interrupts every core of the process for
  /// each.
  void let_go(std::uint64_t from, std::uint64_t to) const noexcept;

  /// Writes changed pages to the disk and waits; errors are not reported.
  void flush() const noexcept;

  /// Makes [from, to) durable, and waits: an fdatasync of the pages that these bytes lie in, and of
  /// no others. Never retried. Errors: io, no_space.
  [[nodiscard]] Result<void> sync(std::uint64_t from, std::uint64_t to,
                                  const std::string& path) const;

  /// In a forked child, which has not inherited it: lets go without unmapping what may by now be
  /// something else.
  void forget() noexcept {
    data_ = nullptr;
    size_bytes_ = 0;
  }

  /// Open flags of a file that is going to be mapped for reading.
  [[nodiscard]] static int read_flags() noexcept;

 private:
  static Result<Mapping> zeroed(std::size_t size_bytes, int kind, const std::string& path);
  void unmap() noexcept;
  std::byte* data_ = nullptr;
  std::size_t size_bytes_ = 0;
};

}  // namespace tailrace
