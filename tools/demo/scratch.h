#pragma once

#include <filesystem>

#include "tailrace/result.h"

namespace demo {

/// A fresh directory for the log and the readers' progress; removed at the end unless kept.
class Scratch {
 public:
  /// Inside `where`; if that is empty, inside $TMPDIR, or else /tmp or /var/tmp: the first on a
  /// real disk with 2 GB free, else the one with most room. Errors: not_found, permission, io.
  [[nodiscard]] static tailrace::Result<Scratch> make(const std::filesystem::path& where);

  Scratch(Scratch&& other) noexcept;
  Scratch& operator=(Scratch&&) = delete;
  ~Scratch();

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] std::filesystem::path log() const { return path_ / "log"; }
  /// For this user, on this file system, now.
  [[nodiscard]] std::uint64_t free_bytes() const;

  void keep() { keep_ = true; }
  [[nodiscard]] bool kept() const { return keep_; }

 private:
  explicit Scratch(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;  // empty = moved from
  bool keep_ = false;
};

/// So much room makes the demo run at full length without a second thought.
inline constexpr std::uint64_t kAmpleBytes = 2'000'000'000;

}  // namespace demo
