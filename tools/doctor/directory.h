#pragma once

#include <sys/types.h>

#include <string>

#include "doctor/finding.h"

namespace tailrace::doctor {

struct DirectoryFacts {
  std::string path;
  bool is_log = false;      ///< holds log.meta
  bool searchable = false;  ///< this process may open what is in it
  bool writable = false;    ///< this process may make files there
  bool read_only = false;   ///< nobody may: the file system is mounted so
  uid_t owner = 0;
  mode_t mode = 0;
};

/// `directory`: what it is, and who may write there.
[[nodiscard]] Finding judge_directory(const DirectoryFacts& facts);

}  // namespace tailrace::doctor
