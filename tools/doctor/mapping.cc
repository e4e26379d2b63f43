#include "doctor/mapping.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>

#include "doctor/scratch_file.h"

namespace tailrace::doctor {
namespace {

constexpr std::size_t kMappedBytes = 65536;

}  // namespace

MappingFacts probe_mapping(int directory) {
  MappingFacts facts;
  const ScratchFile file = make_scratch_file(directory);
  facts.file_error = file.error;
  if (!file.fd) return facts;
  // The system call itself: posix_fallocate would write zeros where the file system cannot.
  if (::fallocate(file.fd.get(), 0, 0, kMappedBytes) != 0) {
    facts.reserve_error = errno;
    return facts;  // a store could be a SIGBUS
  }
  void* const memory =
      ::mmap(nullptr, kMappedBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.fd.get(), 0);
  if (memory == MAP_FAILED) {
    facts.map_error = errno;
    return facts;
  }
#ifdef MADV_POPULATE_WRITE
  // Answers EFAULT where a store would be a SIGBUS. EINVAL: Linux before 5.14.
  if (::madvise(memory, kMappedBytes, MADV_POPULATE_WRITE) != 0 && errno != EINVAL) {
    facts.map_error = errno;
  }
#endif
  ::munmap(memory, kMappedBytes);
  return facts;
}

Finding judge_mapping(const MappingFacts& facts, const std::string& place) {
  if (facts.file_error != 0) {
    return unknown("mapping",
                   fmt::format("no file can be made in {} ({})", place, describe(facts.file_error)),
                   "run tailrace doctor as the user who is to write there");
  }
  const std::string move = "put the log on a local ext4 or XFS file system";
  if (facts.reserve_error == ENOSPC || facts.reserve_error == EDQUOT) {
    return {"mapping", Level::problem,
            fmt::format("not even {} bytes can be reserved in {} ({})", kMappedBytes, place,
                        describe(facts.reserve_error)),
            fmt::format("make room: df {0}; du -xh {0} | sort -h; or raise the quota", place)};
  }
  if (facts.reserve_error != 0) {
    return {"mapping", Level::problem,
            fmt::format("blocks cannot be reserved in {} ({}): a full disk would be a SIGBUS",
                        place, describe(facts.reserve_error)),
            move};
  }
  if (facts.map_error != 0) {
    return {"mapping", Level::problem,
            fmt::format("files in {} cannot be mapped for writing ({})", place,
                        describe(facts.map_error)),
            move};
  }
  return {"mapping",
          Level::ok,
          fmt::format("blocks can be reserved in {}, and files mapped for writing", place),
          {}};
}

}  // namespace tailrace::doctor
