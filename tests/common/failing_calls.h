#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

/// The calls into libc, liburing and the kernel that the engine makes and that can fail, each
/// passing through a hook of the test's. A test that says `// sources: common/failing_calls.cc` is
/// linked so (see the `// wraps:` lines there); calls of the test's own files come by as well.
namespace tailrace::test {

enum class Call : std::uint8_t {
  open_to_read,
  open_to_write,
  open_to_create,
  open_directory,
  examine,        // fstat, fstatat
  list,           // fdopendir
  read,           // pread
  write,          // pwrite
  write_durably,  // pwritev2
  fsync,
  fdatasync,
  msync,
  reserve,  // posix_fallocate
  rename,
  remove,
  make_directory,
  set_mode,
  map,
  map_memory,  // without a file
  populate,    // madvise(MADV_POPULATE_*)
  lock,
  eventfd,
  socket,
  bind,
  register_barrier,
  random,
  start_thread,
  start_process,  // fork
  make_ring,
  register_buffers,
  register_eventfd,
  submit,      // io_uring_enter as a whole; fails before anything is taken
  ring_write,  // one write of a submission: its completion fails
};

struct CallInfo {
  Call call{};
  int fd = -1;
  const void* address = nullptr;  // msync, populate
  std::uint64_t offset = 0;
  std::size_t size_bytes = 0;
};

/// What becomes of a call.
struct Fate {
  int error = 0;            // an errno: it fails with that, and nothing is done
  std::size_t at_most = 0;  // reads and writes: cut short to that; 0 = not
};

using Hook = std::function<Fate(const CallInfo&)>;

/// From now on `hook` is asked before each call, by whatever thread makes it; nullptr: nobody is.
/// It must outlive the threads that may be asking.
void set_hook(const Hook* hook);

/// For those who stand in for a call: its fate. The calls that the hook itself makes go through.
[[nodiscard]] Fate ask(const CallInfo& info);
[[nodiscard]] Fate ask(Call call, int fd = -1);

/// While it lives, calls of this thread do not come to the hook.
class Spared {
 public:
  Spared();
  ~Spared();
  Spared(const Spared&) = delete;
  Spared& operator=(const Spared&) = delete;
};

[[nodiscard]] const char* name_of(Call call);

/// The errors that a call can meet and that are no fault of the caller's.
[[nodiscard]] const std::vector<int>& errors_of(Call call);
/// Those that only mean "once more": nobody may notice them. For reads and writes, being cut short
/// is one more.
[[nodiscard]] bool means_once_more(Call call, int error);
[[nodiscard]] bool can_be_cut_short(Call call);

/// The name of the open file, without its directory; for tests that mean one file.
[[nodiscard]] std::string file_of(int fd);
/// The name of the file that is mapped there.
[[nodiscard]] std::string file_at(const void* address);
/// Either, as the call has it.
[[nodiscard]] std::string file_of(const CallInfo& info);

}  // namespace tailrace::test
