#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "file/fd.h"
#include "tailrace/result.h"

namespace tailrace {

/// An Error for a failed system call: errno decides the code.
[[nodiscard]] Error sys_error(std::string what, const std::string& path, int errno_value);

/// A directory held open; names are resolved beneath it, never through a symbolic link, so nobody
/// who may write in it can lead us elsewhere. Threads: any (no state but the descriptor).
class Directory {
 public:
  Directory() = default;

  /// Errors: not_found, permission, not_a_log (no directory), io.
  [[nodiscard]] static Result<Directory> open(const std::filesystem::path& path);
  [[nodiscard]] Result<Directory> open_directory(const std::string& name) const;
  /// The same directory, whatever its path is by now. Errors: io.
  [[nodiscard]] Result<Directory> duplicate() const;

  /// A regular file. `flags` as open(2) (O_CLOEXEC, O_NONBLOCK are added; O_CREAT is
  /// allowed here because the directory is the owner's). Errors: not_found, permission, io, exists,
  /// no_space, not_a_log (not a regular file).
  [[nodiscard]] Result<Fd> open_file(const std::string& name, int flags, mode_t mode = 0) const;

  [[nodiscard]] Result<void> make_directory(const std::string& name, mode_t mode) const;
  [[nodiscard]] Result<void> rename(const std::string& from, const std::string& to) const;
  /// A missing file is no error.
  Result<void> remove(const std::string& name) const;
  [[nodiscard]] Result<void> sync() const;
  [[nodiscard]] bool exists(const std::string& name) const;
  /// Whether the directory itself has been removed from the file system.
  [[nodiscard]] bool removed() const;
  /// Names in it, unsorted, without "." and "..".
  [[nodiscard]] Result<std::vector<std::string>> list() const;

  /// The path of an entry for messages.
  [[nodiscard]] std::string path_of(std::string_view name) const;
  /// A path to an entry that is short whatever the directory's own path (sockets need that).
  [[nodiscard]] std::string short_path_of(std::string_view name) const;
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }

 private:
  Fd fd_;
  std::string path_;
};

/// Writes all of it at `offset`, through EINTR and short writes. Errors: no_space, io.
[[nodiscard]] Result<void> write_all(int fd, const void* data, std::size_t size_bytes,
                                     std::uint64_t offset, const std::string& path);

/// Reserves blocks for the whole file, through EINTR. Errors: no_space, io.
[[nodiscard]] Result<void> reserve(int fd, std::uint64_t size_bytes, const std::string& path);

/// Reads until `size_bytes` or the end of the file. Returns the bytes read.
[[nodiscard]] Result<std::size_t> read_some(int fd, void* data, std::size_t size_bytes,
                                            std::uint64_t offset, const std::string& path);

[[nodiscard]] Result<std::uint64_t> file_size(int fd, const std::string& path);

/// fdatasync / fsync. Errors: io, no_space. Never retried: the kernel reports an error once.
[[nodiscard]] Result<void> sync_data(int fd, const std::string& path);
[[nodiscard]] Result<void> sync_file(int fd, const std::string& path);

/// Writes a small file beside, fsyncs and renames it into place: whole or not at all, durable once
/// the directory is synced.
[[nodiscard]] Result<void> write_file(const Directory& directory, const std::string& name,
                                      const void* data, std::size_t size_bytes, mode_t mode);

}  // namespace tailrace
