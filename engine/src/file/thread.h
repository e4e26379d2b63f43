#pragma once

#include <pthread.h>

#include <csignal>
#include <string>
#include <system_error>
#include <thread>

#include "file/directory.h"

namespace tailrace {

/// Starts a thread with a name for `top -H`, and with every signal blocked: the application's
/// handlers run on the application's threads. Errors: io (a limit on threads, no memory).
template <class Body>
[[nodiscard]] Result<std::thread> start_thread(const char* name, Body body) {
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread;
  int error = 0;
  try {
    thread = std::thread(std::move(body));
  } catch (const std::system_error& refused) {
    error = refused.code().value();
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error != 0) return fail(sys_error(std::string("cannot start the thread ") + name, {}, error));
  ::pthread_setname_np(thread.native_handle(), name);
  return thread;
}

}  // namespace tailrace
