#include "log/writer_lock.h"

#include <fcntl.h>

#include "base/planted.h"
#include "file/process.h"

namespace tailrace {

Result<Fd> take_writer_lock(const LogFiles& files, std::chrono::milliseconds timeout) {
  const std::string path = files.root.path_of(file_name::kLock);
  auto lock = files.open_owned(files.root, file_name::kLock, O_RDWR);
  if (!lock) return fail(lock.error());
  auto won = lock_file(lock->get(), timeout.count(), path);
  if (!won) return fail(won.error());
  if (*won || planted(Mistake::lock_not_taken)) return std::move(*lock);
  Error error(errc::locked, "another process writes this log");
  error.path(files.root.path()).next("stop that process, or append through it");
  error.pid(lock_holder(lock->get()));
  return fail(std::move(error));
}

}  // namespace tailrace
