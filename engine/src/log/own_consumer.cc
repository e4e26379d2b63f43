#include "log/own_consumer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <cstring>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/planted.h"
#include "file/process.h"

namespace tailrace {

Result<OwnConsumer> OwnConsumer::open(const ConsumerStore& store, const std::string& name) {
  // Asked first, so that no lock is left lying about for a name that nobody has made.
  auto there = StoredConsumer::open(store, name);
  if (!there) return fail(there.error());
  OwnConsumer own;
  auto lock = store.take(name);
  if (!lock) return fail(lock.error());
  own.lock_ = std::move(*lock);
  auto file = StoredConsumer::open(store, name);  // it may have been made anew meanwhile
  if (!file) return fail(file.error());
  own.file_ = std::move(*file);
  const std::string& path = own.file_.path();
  if (own.file_.uid() != ::geteuid()) {
    return fail(Error(errc::permission,
                      fmt::format("the consumer {} is that of uid {}", name, own.file_.uid()))
                    .path(path));
  }
  auto writable = store.directory().open_file(ConsumerStore::file_of(name), O_RDWR);
  if (!writable) return fail(writable.error());
  own.own_ = std::move(*writable);
  auto mapping = Mapping::map(own.own_.get(), kConsumerFileBytes, Access::write, path);
  if (!mapping) return fail(mapping.error());
  own.mapping_ = std::move(*mapping);
  if (auto done = own.mapping_.populate(0, kConsumerFileBytes, Access::write); !done) {
    return fail(Error(done.error()).path(path));
  }
  ConsumerHeader header{};
  std::memcpy(&header, own.mapping_.data(), sizeof header);
  own.seed_ = consumer_crc_seed(store.files().crc_seed, header.id);
  return own;
}

OwnConsumer::~OwnConsumer() {
  if (signed_ && mapping_) store_owner({});
  // At once, also for children that have not yet closed their share of it.
  if (lock_) unlock_file(lock_.get());
}

void OwnConsumer::continue_from(const ConsumerProgress& progress) noexcept {
  generation_ = progress.generation;
  newest_ = progress.committed;
  newest_time_ns_ = progress.committed_at_ns;
}

void OwnConsumer::store_slot(std::size_t offset, const ConsumerSlot& slot) noexcept {
  std::byte* const at = mapping_.data() + offset;
  std::uint64_t words[sizeof(ConsumerSlot) / 8];
  std::memcpy(words, &slot, sizeof slot);
  // SYNC consumer-slot: the generation first, its copy and the checksum last, so that whoever sees
  // a mixture sees two generations. Plain stores in this order; nobody waits for them.
  shared<std::uint64_t>(at).store(words[0], std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);
  for (std::size_t i = 1; i < std::size(words) - 1; ++i) {
    shared<std::uint64_t>(at + 8 * i).store(words[i], std::memory_order_relaxed);
  }
  shared<std::uint64_t>(at + 8 * (std::size(words) - 1))
      .store(words[std::size(words) - 1], std::memory_order_release);
}

void OwnConsumer::put(const Stamp& stamp, std::int64_t time_ns) noexcept {
  const std::uint64_t generation = ++generation_;
  const std::uint64_t slot = planted(Mistake::one_slot_only) ? 0 : generation & 1;
  store_slot(kSlotOffset[slot], make_slot(stamp, generation, time_ns, seed_));
  newest_ = stamp;
  newest_time_ns_ = time_ns;
}

Error OwnConsumer::poisoned() const {
  return Error(errc::poisoned, "an earlier fsync of this consumer's file failed")
      .path(file_.path())
      .next("open the consumer again");
}

/// What an earlier owner wrote may have met a failed fsync: then the kernel calls its page clean
/// although the disk never got it, and only another store makes that good.
void OwnConsumer::rewrite() noexcept {
  if (!rewritten_) put(newest_, newest_time_ns_);
  rewritten_ = true;
}

Result<void> OwnConsumer::sync(const Stamp& durable) {
  if (poisoned_) return fail(poisoned());
  rewrite();
  if (planted(Mistake::consumer_not_synced)) return end_sync({}, durable);
  return end_sync(sync_data(own_.get(), file_.path()), durable);
}

Result<Fd> OwnConsumer::begin_sync() {
  if (poisoned_) return fail(poisoned());
  rewrite();
  Fd own(::fcntl(own_.get(), F_DUPFD_CLOEXEC, 0));
  if (!own) return fail(sys_error("cannot open once more", file_.path(), errno));
  return own;
}

Result<void> OwnConsumer::end_sync(const Result<void>& synced, const Stamp& durable) noexcept {
  if (!synced) {
    poisoned_ = true;
    return synced;
  }
  // Only now: what it says is true however much of it reaches the disk.
  store_slot(kDurableSlotOffset, make_slot(durable, generation_, 0, seed_));
  return {};
}

Result<void> OwnConsumer::replace(const Stamp& stamp, std::int64_t time_ns) {
  // What was said to be durable is so no more, and what is to come is not yet.
  store_slot(kDurableSlotOffset, ConsumerSlot{});
  put(stamp, time_ns);
  put(stamp, time_ns);
  return sync();
}

void OwnConsumer::sign() noexcept {
  ConsumerOwner owner{};
  std::memcpy(owner.boot_id, this_boot().data(), sizeof owner.boot_id);
  owner.pid = static_cast<std::uint32_t>(::getpid());
  owner.pid_start_time = process_start_time(owner.pid);
  owner.since_ns = Clock::kernel_ns();
  store_owner(owner);
  signed_ = true;
}

void OwnConsumer::store_owner(ConsumerOwner owner) noexcept {
  seal(owner, seed_);
  std::memcpy(mapping_.data() + kOwnerOffset, &owner, sizeof owner);
}

void OwnConsumer::hand_over() noexcept {
  signed_ = false;
  release();
}

void OwnConsumer::forked() noexcept {
  mapping_.forget();
  signed_ = false;
  lock_.reset();
}

}  // namespace tailrace
