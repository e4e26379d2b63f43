#include "log/parking.h"

#include <algorithm>

#include "file/futex.h"
#include "file/wake_socket.h"

namespace tailrace {
namespace {

constexpr std::int64_t kLongestNapNs = 100'000'000;
/// When nobody will wake us: no writer, or no permission to tell it.
constexpr std::int64_t kUnannouncedNapNs = 2'000'000;
/// Each sleeper that is woken wakes so many more: the writer pays for one only.
constexpr int kWakeOthers = 2;

}  // namespace

bool Parking::announce() noexcept {
  if (!socket_) socket_ = make_wake_sender();
  return send_wake(socket_.get(), files_.root, file_name::kWake);
}

void Parking::sleep(std::uint32_t word, bool announced, std::int64_t timeout_ns,
                    SleepersWord other) noexcept {
  const std::int64_t nap = std::min(announced ? kLongestNapNs : kUnannouncedNapNs, timeout_ns);
  const std::uint32_t* const wake = control_.wake_word();
  if (other.word == nullptr) {
    futex_wait(wake, word, nap);
  } else if (!futex_wait_either(wake, word, other.word, other.expected, nap)) {
    futex_wait(wake, word, std::min(nap, kUnannouncedNapNs));  // the other one is seen soon after
  }
  if (control_.wake_count() != word) futex_wake(control_.wake_word(), kWakeOthers);
}

}  // namespace tailrace
