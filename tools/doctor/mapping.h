#pragma once

#include <string>

#include "doctor/finding.h"

namespace tailrace::doctor {

/// What was tried with a file without a name. Errors are errnos, 0 = it worked.
struct MappingFacts {
  int file_error = 0;
  int reserve_error = 0;  ///< fallocate
  int map_error = 0;      ///< mmap shared and writable, and a store
};

[[nodiscard]] MappingFacts probe_mapping(int directory);

/// `mapping`: without reserved blocks a full disk is a SIGBUS.
[[nodiscard]] Finding judge_mapping(const MappingFacts& facts, const std::string& place);

}  // namespace tailrace::doctor
