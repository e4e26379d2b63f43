// ASan's allocator of clang 14, unlike glibc's (and ASan's own of clang 18), does not take its
// locks around fork(): one that another thread holds just then stays locked in the child for good,
// and the child hangs in its next malloc. Linked into every test of an ASan build, this takes them,
// in the order that clang 18 takes them in.

#include <pthread.h>

// From compiler-rt: lib/lsan/lsan_common.h and lib/sanitizer_common/sanitizer_stackdepot.h.
namespace __lsan {
void LockThreadRegistry();
void UnlockThreadRegistry();
void LockAllocator();
void UnlockAllocator();
}  // namespace __lsan
namespace __sanitizer {
void StackDepotLockAll();
void StackDepotUnlockAll();
}  // namespace __sanitizer

namespace {

void lock_all() {
  __lsan::LockThreadRegistry();
  __lsan::LockAllocator();
  __sanitizer::StackDepotLockAll();
}

void unlock_all() {
  __sanitizer::StackDepotUnlockAll();
  __lsan::UnlockAllocator();
  __lsan::UnlockThreadRegistry();
}

const int kRegistered = ::pthread_atfork(lock_all, unlock_all, unlock_all);

}  // namespace
