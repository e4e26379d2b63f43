#pragma once

#include "doctor/descriptor.h"

namespace tailrace::doctor {

/// An empty file in a directory, without a name, gone when it is closed: nothing is left behind
/// whatever happens.
struct ScratchFile {
  Descriptor fd;  ///< none: it could not be made, see error
  int error = 0;  ///< an errno
};

/// `more_flags` as for open, e.g. O_DIRECT. Where the file system has no O_TMPFILE the file has a
/// name (.tailrace-doctor-…) for the moment between two system calls.
[[nodiscard]] ScratchFile make_scratch_file(int directory, int more_flags = 0);

}  // namespace tailrace::doctor
