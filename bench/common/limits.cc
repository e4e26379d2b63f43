#include "common/limits.h"

#include <array>
#include <atomic>

#include "base/arch.h"
#include "common/process.h"
#include "common/raw_frame.h"
#include "common/stats.h"

namespace tailrace::bench {
namespace {

constexpr std::uint64_t kFirst = 4096;  // a segment's header

template <std::size_t kPayloadBytes>
std::array<std::byte, kPayloadBytes> some_payload() {
  std::array<std::byte, kPayloadBytes> out;
  for (std::size_t i = 0; i < kPayloadBytes; ++i) out[i] = static_cast<std::byte>(i * 7);
  return out;
}

/// Runs `piece`, again and again, in a child on core 1 (core 0 gets more of the system's own work).
template <class Piece>
double in_child(const WarmMapping& memory, std::uint64_t records, Piece piece) {
  Shared<double> ns;
  const bool good = run_processes({[&] {
    pin(1);
    memory.populate();
    *ns = median_piece_ns(records, monotonic_ns, piece);
    return *ns != 0;
  }});
  return good ? *ns : 0;
}

/// Where a bare loop stands between two pieces.
struct Place {
  std::uint64_t position = kFirst;
  std::uint64_t sequence = 1;
};

template <std::size_t kPayloadBytes>
[[gnu::noinline]] void append_singles(std::byte* base, Place& place, std::uint64_t records) {
  const auto payload = some_payload<kPayloadBytes>();
  auto [position, sequence] = place;
  for (const std::uint64_t end = sequence + records; sequence < end; ++sequence) {
    const std::uint32_t size =
        raw_fill<kPayloadBytes>(base + position, position, sequence, arch::ticks(), payload.data());
    raw_publish(base + position, size);
    position += raw_frame_bytes(kPayloadBytes);
  }
  place = {position, sequence};
}

template <std::size_t kPayloadBytes>
[[gnu::always_inline]] inline std::uint64_t append_batch(std::byte* base, std::uint64_t position,
                                                         std::uint64_t sequence, std::size_t batch,
                                                         const std::byte* payload) {
  const std::uint64_t timestamp = arch::ticks();
  std::byte* const first = base + position;
  std::uint32_t size = 0;
  for (std::size_t k = 0; k < batch; ++k) {
    std::byte* const at = base + position;
    size = raw_fill<kPayloadBytes>(at, position, sequence + k, timestamp, payload);
    if (k != 0) store(at, size);
    position += raw_frame_bytes(kPayloadBytes);
  }
  raw_publish(first, size);
  return position;
}

template <std::size_t kPayloadBytes>
[[gnu::noinline]] void append_batches(std::byte* base, Place& place, std::uint64_t records,
                                      std::size_t batch) {
  const auto payload = some_payload<kPayloadBytes>();
  auto [position, sequence] = place;
  for (const std::uint64_t end = sequence + records; sequence < end; sequence += batch) {
    position = append_batch<kPayloadBytes>(base, position, sequence, batch, payload.data());
  }
  place = {position, sequence};
}

[[gnu::noinline]] bool scan(std::byte* base, Place& place, std::uint64_t records) {
  auto [position, sequence] = place;
  for (const std::uint64_t end = sequence + records; sequence < end; ++sequence) {
    const std::uint32_t size = raw_commit_word(base + position);
    if (size == 0 || !raw_check(base + position, position, sequence, size)) return false;
    position += (size + 31) & ~std::uint64_t{31};
  }
  place = {position, sequence};
  return true;
}

struct StreamControl {
  StartLine start;
  alignas(128) std::atomic<std::uint64_t> cursor;
  alignas(128) double elapsed_ns;
};

template <std::size_t kPayloadBytes>
void produce(StreamControl& control, std::byte* base, std::uint64_t records, std::size_t batch) {
  const auto payload = some_payload<kPayloadBytes>();
  std::uint64_t position = kFirst;
  if (batch > 1) {
    for (std::uint64_t i = 1; i <= records; i += batch) {
      position = append_batch<kPayloadBytes>(base, position, i, batch, payload.data());
      control.cursor.store(position, std::memory_order_release);
    }
    return;
  }
  for (std::uint64_t i = 1; i <= records; ++i) {
    const std::uint32_t size =
        raw_fill<kPayloadBytes>(base + position, position, i, arch::ticks(), payload.data());
    raw_publish(base + position, size);
    position += raw_frame_bytes(kPayloadBytes);
    if (i % 64 == 0) control.cursor.store(position, std::memory_order_release);
  }
  control.cursor.store(position, std::memory_order_release);
}

bool consume(StreamControl& control, std::byte* base, std::uint64_t records, Watch watch) {
  std::uint64_t position = kFirst;
  std::uint64_t end = watch == Watch::word ? ~std::uint64_t{0} : 0;
  for (std::uint64_t i = 1; i <= records; ++i) {
    while (end <= position) {
      end = control.cursor.load(std::memory_order_acquire);
      if (end > position) break;
      for (int k = 0; k < 100; ++k) arch::pause();
    }
    std::uint32_t size = raw_commit_word(base + position);
    while (size == 0) size = raw_commit_word(base + position);
    if (!raw_check(base + position, position, i, size)) return false;
    position += (size + 31) & ~std::uint64_t{31};
  }
  return true;
}

template <std::size_t kPayloadBytes>
double stream(const WarmMapping& memory, std::uint64_t records, std::size_t batch, Watch watch) {
  Shared<StreamControl> control;
  memory.zero(kFirst + (records + kBatch) * raw_frame_bytes(kPayloadBytes));
  const bool good =
      run_processes({[&] {
                       pin(0);
                       memory.populate();
                       control->start.wait(2);
                       produce<kPayloadBytes>(*control, memory.data(), records, batch);
                       return true;
                     },
                     [&] {
                       pin(1);
                       memory.populate();
                       control->start.wait(2);
                       const std::int64_t start = monotonic_ns();
                       const bool ok = consume(*control, memory.data(), records, watch);
                       control->elapsed_ns = static_cast<double>(monotonic_ns() - start);
                       return ok;
                     }});
  return good ? control->elapsed_ns / static_cast<double>(records) : 0;
}

/// One way of a ping-pong: `send` writes ball i, `receive` waits for it.
struct WordBall {
  std::byte* lane;
  std::uint64_t stride;
  void send(std::uint64_t i) const {
    shared<std::uint64_t>(lane + i * stride).store(i, std::memory_order_release);
  }
  [[nodiscard]] bool receive(std::uint64_t i) const {
    while (shared<std::uint64_t>(lane + i * stride).load(std::memory_order_acquire) != i) {
    }
    return true;
  }
};

struct FrameBall {
  std::byte* lane;
  std::byte payload[64] = {};
  void send(std::uint64_t i) const {
    const std::uint64_t position = i * raw_frame_bytes(64);
    raw_publish(lane + position,
                raw_fill<64>(lane + position, position, i, arch::ticks(), payload));
  }
  [[nodiscard]] bool receive(std::uint64_t i) {
    const std::uint64_t position = i * raw_frame_bytes(64);
    std::byte* const at = lane + position;
    std::uint32_t size = raw_commit_word(at);
    while (size == 0) {
      arch::pause();
      size = raw_commit_word(at);
    }
    if (!raw_check(at, position, i, size)) return false;
    std::memcpy(payload, at + sizeof(RawFrame), sizeof payload);
    return true;
  }
};

template <class Lane>
double play(const WarmMapping& memory, Lane there, Lane back, std::uint64_t rounds) {
  Shared<StreamControl> control;
  const bool good = run_processes({[&] {
                                     pin(0);
                                     memory.populate();
                                     control->start.wait(2);
                                     const std::int64_t start = monotonic_ns();
                                     for (std::uint64_t i = 1; i <= rounds; ++i) {
                                       there.send(i);
                                       if (!back.receive(i)) return false;
                                     }
                                     control->elapsed_ns =
                                         static_cast<double>(monotonic_ns() - start);
                                     return true;
                                   },
                                   [&] {
                                     pin(1);
                                     memory.populate();
                                     control->start.wait(2);
                                     for (std::uint64_t i = 1; i <= rounds; ++i) {
                                       if (!there.receive(i)) return false;
                                       back.send(i);
                                     }
                                     return true;
                                   }});
  return good ? control->elapsed_ns / static_cast<double>(rounds) : 0;
}

}  // namespace

double raw_append_ns(const WarmMapping& memory, std::size_t payload_bytes, std::uint64_t records,
                     std::size_t batch) {
  Place place;
  return in_child(memory, records, [&](std::uint64_t n) {
    std::byte* const base = memory.data();
    if (batch > 1) {
      payload_bytes == 64 ? append_batches<64>(base, place, n, batch)
                          : append_batches<1024>(base, place, n, batch);
    } else {
      payload_bytes == 64 ? append_singles<64>(base, place, n)
                          : append_singles<1024>(base, place, n);
    }
    return true;
  });
}

double timestamp_ns(std::uint64_t records) {
  return median_piece_ns(records, monotonic_ns, [](std::uint64_t n) {
    std::uint64_t sum = 0;
    for (std::uint64_t i = 0; i < n; ++i) sum += arch::ticks();
    asm volatile("" ::"r"(sum));
    return true;
  });
}

double raw_scan_ns(const WarmMapping& memory, std::size_t payload_bytes, std::uint64_t records) {
  if (raw_append_ns(memory, payload_bytes, records, 1) == 0) return 0;
  Place place;
  return in_child(memory, records, [&](std::uint64_t n) { return scan(memory.data(), place, n); });
}

double ping_pong_ns(const WarmMapping& memory, Ball ball, std::uint64_t rounds) {
  std::byte* const other = memory.data() + memory.size() / 2;
  memory.zero((rounds + 2) * 96);
  std::memset(other, 0, (rounds + 2) * 96);
  if (ball == Ball::frame) {
    return play(memory, FrameBall{memory.data()}, FrameBall{other}, rounds);
  }
  const std::uint64_t stride = ball == Ball::word ? 0 : 64;
  return play(memory, WordBall{memory.data(), stride}, WordBall{other, stride}, rounds);
}

double raw_stream_ns(const WarmMapping& memory, std::size_t payload_bytes, std::uint64_t records,
                     std::size_t batch, Watch watch) {
  return payload_bytes == 64 ? stream<64>(memory, records, batch, watch)
                             : stream<1024>(memory, records, batch, watch);
}

}  // namespace tailrace::bench
