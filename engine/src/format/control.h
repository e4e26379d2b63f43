#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/bytes.h"
#include "format/log_meta.h"
#include "tailrace/types.h"

namespace tailrace {

inline constexpr std::uint64_t kControlMagic = 0x314C54434C525454;  // "TTRLCTL1" in the file
inline constexpr std::uint32_t kControlVersion = 0;
inline constexpr std::size_t kControlBytes = 65536;

/// Whether a writer works on the log, as far as `control` says.
enum class ControlState : std::uint32_t { none = 0, running = 1, closed = 2 };

/// The shared state of a log: written by the writer's process only, mapped read-only by everybody
/// else. The file never changes its inode or size. Words that change together share a line, words
/// that do not are kept 128 bytes apart (cores fetch lines in pairs).
/// Format: docs/format.md#control
struct Control {
  // Set at creation.
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t size_bytes;
  std::uint8_t log_id[16];
  std::uint8_t reserved0[96];

  // Who writes. boot_id is stored first and state last when a writer opens.
  std::uint8_t boot_id[16];
  std::uint32_t state;  // ControlState
  std::uint32_t pid;
  std::uint64_t pid_start_time;  // field 22 of /proc/PID/stat
  Epoch epoch;
  std::int64_t heartbeat_ns;  // CLOCK_BOOTTIME
  std::uint8_t reserved1[80];

  std::uint64_t generation;  // odd while a recovery changes bytes
  Position first_retained;   // everything below is gone
  std::uint8_t reserved2[112];

  Position committed;  // may lag behind what is published
  std::uint8_t reserved3[120];

  Position durable;  // never lags behind what was acknowledged
  std::uint8_t reserved4[120];

  std::uint32_t wake_word;  // futex
  std::uint32_t armed;      // somebody sleeps on it
  std::uint8_t reserved5[120];
};
static_assert(sizeof(Control) == 768);
static_assert(offsetof(Control, boot_id) == 128);
static_assert(offsetof(Control, state) == 144);
static_assert(offsetof(Control, pid) == 148);
static_assert(offsetof(Control, pid_start_time) == 152);
static_assert(offsetof(Control, epoch) == 160);
static_assert(offsetof(Control, heartbeat_ns) == 168);
static_assert(offsetof(Control, generation) == 256);
static_assert(offsetof(Control, first_retained) == 264);
static_assert(offsetof(Control, committed) == 384);
static_assert(offsetof(Control, durable) == 512);
static_assert(offsetof(Control, wake_word) == 640);
static_assert(offsetof(Control, armed) == 644);

/// Named access to the words that several processes share; each says what it pairs with.
/// The order of each is explained in docs/memory-order.md under its label.
class ControlView {
 public:
  ControlView() = default;
  explicit ControlView(std::byte* at) noexcept : control_(reinterpret_cast<Control*>(at)) {}
  explicit ControlView(const std::byte* at) noexcept
      : control_(reinterpret_cast<Control*>(const_cast<std::byte*>(at))) {}

  // Who writes; in force once set_state() has said `running`. SYNC writer-state
  struct Writer {
    std::array<std::uint8_t, 16> boot_id{};
    std::uint32_t pid = 0;
    std::uint64_t pid_start_time = 0;
    Epoch epoch = 0;
  };
  [[nodiscard]] Writer writer() const noexcept {
    Writer writer;
    const std::uint64_t boot[2] = {get<std::uint64_t>(control_->boot_id),
                                   get<std::uint64_t>(control_->boot_id + 8)};
    std::memcpy(writer.boot_id.data(), boot, sizeof boot);
    writer.pid = get<std::uint32_t>(&control_->pid);
    writer.pid_start_time = get<std::uint64_t>(&control_->pid_start_time);
    writer.epoch = get<Epoch>(&control_->epoch);
    return writer;
  }
  void set_writer(const Writer& writer) const noexcept {
    std::uint64_t boot[2];
    std::memcpy(boot, writer.boot_id.data(), sizeof boot);
    set(control_->boot_id, boot[0]);
    set(control_->boot_id + 8, boot[1]);
    set(&control_->pid, writer.pid);
    set(&control_->pid_start_time, writer.pid_start_time);
    set(&control_->epoch, writer.epoch);
  }

  [[nodiscard]] ControlState state() const noexcept {
    return static_cast<ControlState>(
        shared<std::uint32_t>(&control_->state).load(std::memory_order_acquire));
  }
  void set_state(ControlState state) const noexcept {
    shared<std::uint32_t>(&control_->state)
        .store(static_cast<std::uint32_t>(state), std::memory_order_release);
  }
  [[nodiscard]] std::int64_t heartbeat_ns() const noexcept {
    return shared<std::int64_t>(&control_->heartbeat_ns).load(std::memory_order_relaxed);
  }
  void set_heartbeat_ns(std::int64_t now) const noexcept {
    shared<std::int64_t>(&control_->heartbeat_ns).store(now, std::memory_order_relaxed);
  }

  // SYNC generation
  [[nodiscard]] std::uint64_t generation() const noexcept {
    return shared<std::uint64_t>(&control_->generation).load(std::memory_order_acquire);
  }
  /// After an acquire fence of the caller's.
  [[nodiscard]] std::uint64_t generation_relaxed() const noexcept {
    return shared<std::uint64_t>(&control_->generation).load(std::memory_order_relaxed);
  }
  void set_generation(std::uint64_t value) const noexcept {
    shared<std::uint64_t>(&control_->generation).store(value, std::memory_order_seq_cst);
  }
  // SYNC retained
  [[nodiscard]] Position first_retained() const noexcept {
    return shared<Position>(&control_->first_retained).load(std::memory_order_acquire);
  }
  void set_first_retained(Position position) const noexcept {
    shared<Position>(&control_->first_retained).store(position, std::memory_order_release);
  }

  // SYNC committed
  [[nodiscard]] Position committed() const noexcept {
    return shared<Position>(&control_->committed).load(std::memory_order_acquire);
  }
  void set_committed(Position end) const noexcept {
    shared<Position>(&control_->committed).store(end, std::memory_order_release);
  }
  /// For threads other than the appender, whose own stores are always at least as high: raises,
  /// never lowers.
  void raise_committed(Position end) const noexcept {
    auto word = shared<Position>(&control_->committed);
    Position seen = word.load(std::memory_order_relaxed);
    while (seen < end && !word.compare_exchange_weak(seen, end, std::memory_order_release,
                                                     std::memory_order_relaxed)) {
    }
  }

  // SYNC durable
  [[nodiscard]] Position durable() const noexcept {
    return shared<Position>(&control_->durable).load(std::memory_order_acquire);
  }
  void set_durable(Position end) const noexcept {
    shared<Position>(&control_->durable).store(end, std::memory_order_release);
  }

  // SYNC park
  [[nodiscard]] std::uint32_t* wake_word() const noexcept { return &control_->wake_word; }
  [[nodiscard]] std::uint32_t wake_count() const noexcept {
    return shared<std::uint32_t>(&control_->wake_word).load(std::memory_order_acquire);
  }
  void bump_wake_word() const noexcept {
    shared<std::uint32_t>(&control_->wake_word).fetch_add(1, std::memory_order_release);
  }
  [[nodiscard]] bool armed() const noexcept {
    return shared<std::uint32_t>(&control_->armed).load(std::memory_order_relaxed) != 0;
  }
  void set_armed(bool value) const noexcept {
    shared<std::uint32_t>(&control_->armed).store(value ? 1 : 0, std::memory_order_relaxed);
  }

 private:
  template <class T>
  [[nodiscard]] static T get(const void* at) noexcept {
    return shared<T>(at).load(std::memory_order_relaxed);
  }
  template <class T>
  static void set(void* at, T value) noexcept {
    shared<T>(at).store(value, std::memory_order_relaxed);
  }

  Control* control_ = nullptr;
};

/// A new log's control: no writer yet, nothing committed. `page` holds zero bytes.
void init_control(std::byte* page, const LogMeta& meta) noexcept;

/// Whether the bytes are this log's control. Errors: not_a_log, unsupported_version.
[[nodiscard]] Result<void> check_control(const std::byte* page, const LogMeta& meta,
                                         const std::string& path);

}  // namespace tailrace
