#include "log/fork_guard.h"

#include <pthread.h>

#include <mutex>

namespace tailrace {
namespace {

std::mutex guards_mutex;
ForkGuard* first_guard = nullptr;

}  // namespace

void tell_children() noexcept {
  for (ForkGuard* guard = first_guard; guard != nullptr; guard = guard->next_) guard->forked();
  first_guard = nullptr;
  guards_mutex.unlock();
}

ForkGuard::ForkGuard() {
  static const int registered = ::pthread_atfork(
      [] { guards_mutex.lock(); }, [] { guards_mutex.unlock(); }, [] { tell_children(); });
  static_cast<void>(registered);
  const std::lock_guard lock(guards_mutex);
  next_ = first_guard;
  if (next_ != nullptr) next_->previous_ = this;
  first_guard = this;
}

ForkGuard::~ForkGuard() {
  const std::lock_guard lock(guards_mutex);
  if (previous_ != nullptr) previous_->next_ = next_;
  if (next_ != nullptr) next_->previous_ = previous_;
  if (first_guard == this) first_guard = next_;
}

}  // namespace tailrace
