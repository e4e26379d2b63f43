#include <algorithm>
#include <thread>

#include "log/consumer_impl.h"
#include "log/look_again.h"

namespace tailrace {
namespace {

using Steady = std::chrono::steady_clock;
using std::chrono::nanoseconds;

/// The longest sleep without a look at whether gates, log and consumer are still there.
constexpr nanoseconds kSlice = std::chrono::milliseconds(100);

}  // namespace

Delivery Consumer::Impl::next(RecordView& out, nanoseconds timeout) {
  Delivery got = next(out);
  if (got != Delivery::end || timeout.count() <= 0) return got;
  const Steady::time_point start = Steady::now();
  for (int round = 0; got == Delivery::end; ++round) {
    const nanoseconds left = timeout - (Steady::now() - start);
    if (left.count() <= 0) return got;
    if (has_pending_ || !placed_) {
      std::this_thread::sleep_for(std::min(left, nap_before_look(round)));
    } else {
      round = 0;
      got = read_ahead(std::min(left, kSlice));
      if (got == Delivery::closed) return got;
      if (got == Delivery::failed) {
        if (reader_generation() == generation_) return got;
        error_.reset();
      }
      if (got == Delivery::end) {
        if (own_.file().removed()) return Delivery::closed;
        if (auto looked = look_at_gates(); !looked) return failed(looked.error());
      }
    }
    got = next(out);
  }
  return got;
}

}  // namespace tailrace
