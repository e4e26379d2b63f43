#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "tailrace/types.h"

/// The disk's own limits: bare writes to bare files, past the page cache where it says so. Every
/// figure of durability is divided by one of these, measured in the same run and in turn. All exit
/// the (child) process on failure, with a message.
namespace tailrace::bench {

inline constexpr std::size_t kBlockBytes = 4096;

/// A file whose blocks have all been written once, opened O_DIRECT|O_DSYNC: writing one of them
/// again changes no metadata, so this is the shortest way to make something durable.
class BareFile {
 public:
  BareFile(const std::filesystem::path& path, std::size_t bytes);
  ~BareFile();
  BareFile(const BareFile&) = delete;
  BareFile& operator=(const BareFile&) = delete;

  /// One durable write of one block, each time the next one.
  void commit();

 private:
  int fd_ = -1;
  std::size_t bytes_;
  std::size_t at_ = 0;
  std::byte* block_ = nullptr;
};

/// What a file is like before it is written from begin to end.
enum class Before {
  written,    ///< all its blocks have been written before
  allocated,  ///< fresh from fallocate
};

/// O_DIRECT writes of `block_bytes`, one after the other, and an fdatasync at the end.
[[nodiscard]] double sequential_ns_per_mib(const std::filesystem::path& path, std::size_t bytes,
                                           std::size_t block_bytes, Before before);

/// Through the page cache: a fallocated file is written in pieces of 1 MiB and fsynced once.
[[nodiscard]] double write_and_fsync_ns(const std::filesystem::path& path, std::size_t bytes);

/// Bringing in the pages of a freshly fallocated file for writing, through one mapping: what each
/// byte of a mapped log costs before it is stored.
[[nodiscard]] double fresh_pages_ns_per_mib(const std::filesystem::path& path, std::size_t bytes);

/// One way to have single-block writes made durable through io_uring.
struct RingVariant {
  std::string name;
  unsigned in_flight = 1;
  bool registered = true;  ///< buffer and file
  bool sqpoll = false;
  bool iopoll = false;
};
[[nodiscard]] std::vector<RingVariant> ring_variants();

struct RingRate {
  double ns_per_write = 0;  ///< elapsed by number; 0 = not supported
  std::string refused;      ///< why not
};
/// `writes` writes with O_DIRECT and RWF_DSYNC, always `in_flight` of them under way.
[[nodiscard]] RingRate ring_writes(const std::filesystem::path& path, const RingVariant& variant,
                                   std::uint64_t writes);

}  // namespace tailrace::bench
