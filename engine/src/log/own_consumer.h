#pragma once

#include "file/mapping.h"
#include "log/stored_consumer.h"

namespace tailrace {

/// The consumer as this process has taken it: mapped for writing, progress stored without a system
/// call. Two slots are written in turn, so that at every moment one of them is right.
class OwnConsumer {
 public:
  OwnConsumer() = default;  // none yet
  /// Takes the name. Errors: as ConsumerStore::take and StoredConsumer::open; permission (another
  /// user's file).
  [[nodiscard]] static Result<OwnConsumer> open(const ConsumerStore& store,
                                                const std::string& name);
  OwnConsumer(OwnConsumer&&) noexcept = default;
  OwnConsumer& operator=(OwnConsumer&&) noexcept = default;
  ~OwnConsumer();

  [[nodiscard]] const StoredConsumer& file() const noexcept { return file_; }
  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(mapping_); }
  /// Continues from what read() gave.
  void continue_from(const ConsumerProgress& progress) noexcept;

  void put(const Stamp& stamp, std::int64_t time_ns) noexcept;
  /// Makes what was put durable, and says so in the file. After a failure: poisoned, for good.
  [[nodiscard]] Result<void> sync() { return sync(newest_); }
  /// The same, but says it of no more than `durable`, which was put before.
  [[nodiscard]] Result<void> sync(const Stamp& durable);
  /// The same in pieces, for those who let another thread wait: begin_sync(), then sync_data() of
  /// that descriptor, then end_sync() with what it answered. `durable` was put before the begin.
  [[nodiscard]] Result<Fd> begin_sync();
  Result<void> end_sync(const Result<void>& synced, const Stamp& durable) noexcept;
  /// put() into both slots, so that nothing remembers what was before; and sync().
  [[nodiscard]] Result<void> replace(const Stamp& stamp, std::int64_t time_ns);

  /// Says in the file that this process is at work.
  void sign() noexcept;

  /// Lets go of the name.
  void release() noexcept { const OwnConsumer gone(std::move(*this)); }
  /// Lets go for another owner who is about to come: until he signs, the file says that this one is
  /// at work.
  void hand_over() noexcept;

  /// In a forked child: lets go without touching anything that is the parent's.
  void forked() noexcept;

 private:
  [[nodiscard]] Error poisoned() const;
  void rewrite() noexcept;
  void store_slot(std::size_t offset, const ConsumerSlot& slot) noexcept;
  void store_owner(ConsumerOwner owner) noexcept;

  Fd lock_;
  StoredConsumer file_;
  Fd own_;  // for fsync
  Mapping mapping_;
  Stamp newest_;
  std::int64_t newest_time_ns_ = 0;
  std::uint64_t generation_ = 0;
  std::uint32_t seed_ = 0;
  bool poisoned_ = false;
  bool signed_ = false;
  bool rewritten_ = false;  // since it was opened: in a page that this process has made dirty
};

}  // namespace tailrace
