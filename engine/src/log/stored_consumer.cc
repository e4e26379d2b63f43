#include "log/stored_consumer.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <array>
#include <cstring>
#include <thread>

#include "base/bytes.h"
#include "base/planted.h"
#include "file/process.h"

namespace tailrace {
namespace {

/// Both slots, the owner and the durable slot, in one read.
constexpr std::size_t kProgressFrom = kSlotOffset[0];
constexpr std::size_t kProgressBytes = kDurableSlotOffset + sizeof(ConsumerSlot) - kProgressFrom;
using ProgressBytes = std::array<std::byte, kProgressBytes>;

/// Neither slot is right, in so many reads that gave the same bytes: nobody is writing there.
constexpr int kStableReads = 5;
/// A commit takes nanoseconds: who finds both slots half written so often is looking at junk, or at
/// somebody who wants to keep him busy.
constexpr int kMostReads = 50;

template <class T>
T part(const ProgressBytes& bytes, std::size_t offset) {
  return load<T>(bytes.data() + (offset - kProgressFrom));
}

}  // namespace

Result<StoredConsumer> StoredConsumer::open(const ConsumerStore& store, const std::string& name) {
  const LogFiles& files = store.files();
  StoredConsumer stored;
  stored.path_ = store.directory().path_of(ConsumerStore::file_of(name));
  auto file = store.directory().open_file(ConsumerStore::file_of(name), O_RDONLY);
  if (!file) {
    if (file.error().code() != errc::not_found) return fail(file.error());
    return fail(no_such_consumer(files, name));
  }
  struct stat status {};
  if (::fstat(file->get(), &status) != 0) {
    return fail(sys_error("cannot examine", stored.path_, errno));
  }
  if (status.st_nlink > 1) {
    return fail(
        Error(errc::permission, "the consumer's file has another name as well").path(stored.path_));
  }
  ConsumerHeader header{};
  auto size = read_some(file->get(), &header, sizeof header, 0, stored.path_);
  if (!size) return fail(size.error());
  if (static_cast<std::size_t>(status.st_size) < kConsumerFileBytes || *size < sizeof header) {
    return fail(Error(errc::corrupt, fmt::format("the consumer's file has {} bytes where {} are "
                                                 "needed",
                                                 status.st_size, kConsumerFileBytes))
                    .path(stored.path_));
  }
  auto identity = parse_header(header, files.meta, files.crc_seed, stored.path_);
  if (!identity) return fail(identity.error());
  if (identity->name != name) {
    return fail(Error(errc::not_a_log, "the file of another consumer: it was renamed or copied")
                    .path(stored.path_));
  }
  stored.identity_ = std::move(*identity);
  stored.log_ = log_id(files.meta);
  stored.seed_ = consumer_crc_seed(files.crc_seed, header.id);
  stored.uid_ = status.st_uid;
  stored.file_ = std::move(*file);
  return stored;
}

Result<ConsumerProgress> StoredConsumer::read() const {
  ProgressBytes bytes{};
  ProgressBytes before{};
  int stable = 0;
  for (int attempt = 0; attempt < kMostReads; ++attempt) {
    auto size = read_some(file_.get(), bytes.data(), bytes.size(), kProgressFrom, path_);
    if (!size) return fail(size.error());
    if (*size < bytes.size()) break;  // cut off meanwhile
    // SYNC consumer-slot: a slot that is being written has the wrong checksum, and the other one is
    // the commit before it.
    ConsumerSlot slots[2] = {part<ConsumerSlot>(bytes, kSlotOffset[0]),
                             part<ConsumerSlot>(bytes, kSlotOffset[1])};
    const bool valid[2] = {is_valid(slots[0], seed_), is_valid(slots[1], seed_)};
    if (valid[0] || valid[1]) {
      std::size_t newest =
          !valid[0] || (valid[1] && slots[1].generation > slots[0].generation) ? 1 : 0;
      if (planted(Mistake::older_slot_taken) && valid[0] && valid[1]) newest = 1 - newest;
      ConsumerProgress progress;
      progress.committed = stamp_of(slots[newest], log_);
      progress.committed_at_ns = slots[newest].time_ns;
      progress.generation = slots[newest].generation;
      if (valid[1 - newest]) progress.older = stamp_of(slots[1 - newest], log_);
      const auto durable = part<ConsumerSlot>(bytes, kDurableSlotOffset);
      if (is_valid(durable, seed_)) progress.durable = stamp_of(durable, log_);
      const auto owner = part<ConsumerOwner>(bytes, kOwnerOffset);
      if (is_valid(owner, seed_)) progress.owner = owner;
      return progress;
    }
    stable = bytes == before ? stable + 1 : 0;
    if (stable >= kStableReads) break;
    before = bytes;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return fail(Error(errc::corrupt, "the consumer's progress is lost: both slots are damaged")
                  .path(path_)
                  .offset(kSlotOffset[0])
                  .next("choose a place to go on from with: tailrace consumers LOG reset"));
}

bool StoredConsumer::removed() const noexcept {
  struct stat status {};
  return ::fstat(file_.get(), &status) == 0 && status.st_nlink == 0;
}

OwnerState owner_state(const std::optional<ConsumerOwner>& owner) {
  if (!owner) return OwnerState::dead;  // somebody died while he signed
  if (owner->pid == 0) return OwnerState::none;
  if (planted(Mistake::owner_by_pid_alone)) return OwnerState::live;
  if (std::memcmp(owner->boot_id, this_boot().data(), sizeof owner->boot_id) != 0) {
    return OwnerState::dead;
  }
  const std::uint64_t started = process_start_time(owner->pid);
  return started != 0 && started == owner->pid_start_time ? OwnerState::live : OwnerState::dead;
}

}  // namespace tailrace
