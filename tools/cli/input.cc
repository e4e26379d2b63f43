#include "cli/input.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

#include "cli/signals.h"

namespace tailrace::cli {
namespace {

constexpr std::size_t kFirstCapacity = std::size_t{1} << 20;
// Less room than this at the end of the buffer is not worth a system call.
constexpr std::size_t kMinReadBytes = std::size_t{64} << 10;
constexpr std::size_t kPrefixBytes = 4;

std::uint32_t load_u32(const char* bytes) noexcept {
  std::uint32_t value = 0;
  for (int i = 3; i >= 0; --i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

int delimiter_of(Framing framing) noexcept { return framing == Framing::lines ? 0x0a : 0; }

}  // namespace

Input::Input(int descriptor, Framing framing, std::size_t max_frame_bytes)
    : descriptor_(descriptor), framing_(framing), max_frame_bytes_(max_frame_bytes) {}

Got Input::next(std::string_view& frame) {
  if (dropping_ && drop() == Got::nothing) return at_end_ ? Got::end : Got::nothing;
  return framing_ == Framing::length_prefix ? next_prefixed(frame) : next_delimited(frame);
}

Got Input::next_delimited(std::string_view& frame) {
  const char* const bytes = buffer_.get();
  const auto* found = static_cast<const char*>(
      scanned_ < end_ ? std::memchr(bytes + scanned_, delimiter_of(framing_), end_ - scanned_)
                      : nullptr);
  const std::size_t frame_end = found != nullptr ? static_cast<std::size_t>(found - bytes) : end_;
  scanned_ = frame_end;
  if (found == nullptr && at_end_ && begin_ == end_) return Got::end;
  if (frame_end - begin_ > max_frame_bytes_) {
    dropping_ = true;
    return Got::too_large;
  }
  if (found == nullptr && !at_end_) return Got::nothing;
  frame = {bytes + begin_, frame_end - begin_};
  begin_ = scanned_ = std::min(frame_end + 1, end_);
  return Got::frame;
}

Got Input::next_prefixed(std::string_view& frame) {
  const std::size_t at_hand = end_ - begin_;
  const auto incomplete = [&] {
    if (!at_end_) return Got::nothing;
    begin_ = scanned_ = end_;
    return at_hand == 0 ? Got::end : Got::truncated;
  };
  if (at_hand < kPrefixBytes) return incomplete();
  const std::size_t size = load_u32(buffer_.get() + begin_);
  if (size > max_frame_bytes_) {
    dropping_ = true;
    drop_bytes_ = kPrefixBytes + size;
    return Got::too_large;
  }
  if (at_hand - kPrefixBytes < size) return incomplete();
  frame = {buffer_.get() + begin_ + kPrefixBytes, size};
  begin_ = scanned_ = begin_ + kPrefixBytes + size;
  return Got::frame;
}

// `nothing`: there is more to drop than is at hand. `frame`: done.
Got Input::drop() {
  if (framing_ == Framing::length_prefix) {
    const auto now = static_cast<std::size_t>(std::min<std::uint64_t>(drop_bytes_, end_ - begin_));
    begin_ = scanned_ = begin_ + now;
    drop_bytes_ -= now;
    dropping_ = drop_bytes_ > 0;
  } else {
    const char* const bytes = buffer_.get();
    const auto* found = static_cast<const char*>(
        scanned_ < end_ ? std::memchr(bytes + scanned_, delimiter_of(framing_), end_ - scanned_)
                        : nullptr);
    begin_ = scanned_ = found != nullptr ? static_cast<std::size_t>(found - bytes) + 1 : end_;
    dropping_ = found == nullptr;
  }
  return dropping_ ? Got::nothing : Got::frame;
}

void Input::make_room() {
  if (begin_ == end_) begin_ = scanned_ = end_ = 0;
  if (capacity_ - end_ >= kMinReadBytes) return;
  // Moving pays when it frees at least half of the buffer; so each byte is moved about once.
  if (begin_ > 0 && begin_ >= capacity_ / 2) {
    std::memmove(buffer_.get(), buffer_.get() + begin_, end_ - begin_);
    scanned_ -= begin_;
    end_ -= begin_;
    begin_ = 0;
    return;
  }
  const std::size_t wanted = std::max(kFirstCapacity, capacity_ * 2);
  char* const grown = static_cast<char*>(std::realloc(buffer_.get(), wanted + kPadding));
  if (grown == nullptr) throw std::bad_alloc();
  static_cast<void>(buffer_.release());
  buffer_.reset(grown);
  capacity_ = wanted;
}

Filled Input::fill() {
  if (at_end_) return Filled::end;
  make_room();
  for (;;) {
    if (stop_requested()) return Filled::stopped;
    pollfd descriptors[] = {{descriptor_, POLLIN, 0}, {stop_descriptor(), POLLIN, 0}};
    if (::poll(descriptors, 2, -1) < 0) continue;  // a signal: look again
    if (descriptors[1].revents != 0) return Filled::stopped;
    const auto got = ::read(descriptor_, buffer_.get() + end_, capacity_ - end_);
    if (got > 0) {
      end_ += static_cast<std::size_t>(got);
      return Filled::data;
    }
    if (got == 0) {
      at_end_ = true;
      return Filled::end;
    }
    if (errno != EINTR && errno != EAGAIN) {
      error_ = errno;
      return Filled::failed;
    }
  }
}

bool Input::ready() const {
  pollfd descriptor{descriptor_, POLLIN, 0};
  return at_end_ || stop_requested() || ::poll(&descriptor, 1, 0) == 1;
}

}  // namespace tailrace::cli
