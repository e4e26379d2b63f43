// io_uring's part of failing_calls.cc:
// clang-format off
// wraps: io_uring_queue_init_params io_uring_register_buffers io_uring_register_eventfd
// wraps: io_uring_submit io_uring_submit_and_wait_timeout
// clang-format on

#include <liburing.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <vector>

#include "common/failing_calls.h"

using tailrace::test::ask;
using tailrace::test::Call;
using tailrace::test::Fate;

// NOLINTBEGIN: the linker's names
extern "C" {

int __real_io_uring_queue_init_params(unsigned, struct io_uring*, struct io_uring_params*);
int __wrap_io_uring_queue_init_params(unsigned entries, struct io_uring* ring,
                                      struct io_uring_params* params) {
  const Fate fate = ask(Call::make_ring);
  return fate.error != 0 ? -fate.error : __real_io_uring_queue_init_params(entries, ring, params);
}

int __real_io_uring_register_buffers(struct io_uring*, const struct iovec*, unsigned);
int __wrap_io_uring_register_buffers(struct io_uring* ring, const struct iovec* buffers,
                                     unsigned count) {
  const Fate fate = ask(Call::register_buffers);
  return fate.error != 0 ? -fate.error : __real_io_uring_register_buffers(ring, buffers, count);
}

int __real_io_uring_register_eventfd(struct io_uring*, int);
int __wrap_io_uring_register_eventfd(struct io_uring* ring, int fd) {
  const Fate fate = ask(Call::register_eventfd);
  return fate.error != 0 ? -fate.error : __real_io_uring_register_eventfd(ring, fd);
}

}  // extern "C"

namespace {

/// Writes that were made into no-operations: what is to be said of them when they have ended.
struct Planned {
  io_uring* ring;
  std::uint64_t token;
  int result;
};
std::mutex planned_mutex;
std::vector<Planned> planned;

/// Before a submission: each write in it meets its fate. `asked` = how far that was done before (a
/// submission that fails leaves its entries in the queue).
void meet_fates(io_uring* ring) {
  thread_local io_uring* last_ring = nullptr;
  thread_local unsigned asked_to = 0;
  io_uring_sq& queue = ring->sq;
  unsigned at = queue.sqe_head;
  if (last_ring == ring && asked_to - at <= queue.sqe_tail - at) at = asked_to;
  for (; at != queue.sqe_tail; ++at) {
    io_uring_sqe& entry = queue.sqes[at & queue.ring_mask];
    if (entry.opcode != IORING_OP_WRITE && entry.opcode != IORING_OP_WRITE_FIXED) continue;
    const Fate fate = ask({Call::ring_write, entry.fd, nullptr, entry.off, entry.len});
    entry.len =
        fate.at_most == 0 ? entry.len : std::min(entry.len, static_cast<unsigned>(fate.at_most));
    if (fate.error == 0) continue;
    const std::uint64_t token = entry.user_data;
    entry = {};
    entry.opcode = IORING_OP_NOP;
    entry.fd = -1;
    entry.user_data = token;
    const std::lock_guard lock(planned_mutex);
    planned.push_back({ring, token, -fate.error});
  }
  last_ring = ring;
  asked_to = at;
}

/// After one: no-operations have ended by now.
void tell_results(io_uring* ring) {
  const std::lock_guard lock(planned_mutex);
  io_uring_cq& queue = ring->cq;
  const unsigned tail = std::atomic_ref<unsigned>(*queue.ktail).load(std::memory_order_acquire);
  for (unsigned at = *queue.khead; at != tail; ++at) {
    io_uring_cqe& entry = queue.cqes[at & queue.ring_mask];
    const auto found = std::find_if(planned.begin(), planned.end(), [&](const Planned& plan) {
      return plan.ring == ring && plan.token == entry.user_data;
    });
    if (found == planned.end() || entry.res != 0) continue;
    entry.res = found->result;
    planned.erase(found);
  }
}

}  // namespace

extern "C" {

int __real_io_uring_submit(struct io_uring*);
int __wrap_io_uring_submit(struct io_uring* ring) {
  if (const Fate fate = ask(Call::submit); fate.error != 0) return -fate.error;
  meet_fates(ring);
  const int answer = __real_io_uring_submit(ring);
  tell_results(ring);
  return answer;
}

int __real_io_uring_submit_and_wait_timeout(struct io_uring*, struct io_uring_cqe**, unsigned,
                                            struct __kernel_timespec*, sigset_t*);
int __wrap_io_uring_submit_and_wait_timeout(struct io_uring* ring, struct io_uring_cqe** cqe,
                                            unsigned count, struct __kernel_timespec* timeout,
                                            sigset_t* mask) {
  if (const Fate fate = ask(Call::submit); fate.error != 0) return -fate.error;
  meet_fates(ring);
  const int answer = __real_io_uring_submit_and_wait_timeout(ring, cqe, count, timeout, mask);
  tell_results(ring);
  return answer;
}

}  // extern "C"
// NOLINTEND
