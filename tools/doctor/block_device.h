#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "doctor/finding.h"

namespace tailrace::doctor {

/// What /sys says about the device below a file system. Empty: it does not say.
struct BlockDevice {
  std::string name;                        ///< "nvme0n1", of the whole disk
  std::optional<std::string> write_cache;  ///< "write back" or "write through"
  std::optional<bool> stable_writes;
  std::optional<bool> rotational;
  std::optional<std::uint64_t> read_ahead_kib;
  std::optional<std::string> backing_file;  ///< of a loop device
};

/// `sys` is "/sys", but for tests. Empty: no such device there.
[[nodiscard]] std::optional<BlockDevice> read_block_device(const std::string& sys, unsigned major,
                                                           unsigned minor);

/// `block_device`, `write_cache`, `stable_writes`, `read_ahead`.
[[nodiscard]] std::vector<Finding> judge_block_device(const BlockDevice& device);

}  // namespace tailrace::doctor
