#pragma once

#include <pthread.h>

#include <csignal>
#include <thread>

namespace tailrace {

/// Starts a thread with a name for `top -H`, and with every signal blocked: the application's
/// handlers run on the application's threads.
template <class Body>
[[nodiscard]] std::thread start_thread(const char* name, Body body) {
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread(std::move(body));
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::pthread_setname_np(thread.native_handle(), name);
  return thread;
}

}  // namespace tailrace
