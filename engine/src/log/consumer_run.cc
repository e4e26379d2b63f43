#include "base/clock.h"
#include "log/consumer_impl.h"

namespace tailrace {

Delivery Consumer::Impl::next_run(std::span<RecordView> out, std::size_t& count,
                                  std::chrono::nanoseconds timeout) {
  count = 0;
  Delivery got = next(out[0], timeout);
  // Of two segments at once the reader keeps the views alive, not of three.
  const Position segment_end =
      got == Delivery::record ? files_.base_of(files_.segment_of(out[0].position) + 1) : 0;
  while (got == Delivery::record) {
    ++count;
    // Behind a gate each record is asked for; so is one that has been read already.
    if (gates_.empty() && !has_pending_) count += plain_run(out.subspan(count));
    if (count == out.size()) break;
    got = next_before(out[count], segment_end);
  }
  // What ended the run is found again by the next call.
  return count > 0 ? Delivery::record : got;
}

std::size_t Consumer::Impl::plain_run(std::span<RecordView> out) {
  ReaderAccess::Impl& reader = ReaderAccess::impl(reader_);
  // SYNC generation: next() has seen the place to be in the log under generation_; each record of
  // the run is compared with the reader's, so that has to be the same one.
  if (reader.generation() != generation_) return 0;
  std::size_t count = 0;
  if (!filters_) {
    while (count < out.size() && reader.next_plain(out[count])) ++count;
    if (count > 0) handed_ = behind_ = stamp_of_record(reader_, out[count - 1], committed_.log_id);
    return count;
  }
  RecordView last;
  while (count < out.size() && reader.next_plain(out[count])) {
    last = out[count];
    if (wants(last)) ++count;
  }
  if (last.sequence != 0) behind_ = stamp_of_record(reader_, last, committed_.log_id);
  if (count > 0) handed_ = stamp_of_record(reader_, out[count - 1], committed_.log_id);
  return count;
}

Result<void> Consumer::Impl::stand_behind(const Stamp& stamp) {
  if (forked_) return fail(Error(errc::forked, "this consumer belongs to the parent process"));
  if (auto done = own_.replace(stamp, Clock::kernel_ns()); !done) return done;
  committed_ = handed_ = behind_ = stamp;
  has_pending_ = placed_ = has_looked_ = false;
  error_.reset();
  if (auto looked = look_at_gates(); !looked) return looked;
  if (settle_place() == Delivery::failed) return fail(*error_);
  return {};
}

}  // namespace tailrace
