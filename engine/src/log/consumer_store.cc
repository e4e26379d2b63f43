#include "log/consumer_store.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>

#include "base/clock.h"
#include "file/process.h"

namespace tailrace {
namespace {

constexpr std::string_view kFileEnd = ".consumer";
constexpr std::string_view kLockEnd = ".lock";
/// What a user who is not the log's owner may put here and have looked at. Only a quota keeps him
/// from more files than that; but they cost nobody's time.
constexpr std::size_t kMostPerUser = 256;
/// Who was killed right after a fork has a child that closes its share of the lock as the first
/// thing it does: that can be waited for.
constexpr std::int64_t kDeadOwnersChildMs = 1000;

Result<ConsumerStore> check_owner(const LogFiles& files, Result<Directory> directory) {
  if (!directory) return fail(directory.error());
  struct stat status {};
  if (::fstat(directory->fd(), &status) != 0) {
    return fail(sys_error("cannot examine", directory->path(), errno));
  }
  if (status.st_uid != files.owner && status.st_uid != 0) {
    return fail(Error(errc::not_a_log, fmt::format("owned by uid {}, but the log is uid {}'s",
                                                   status.st_uid, files.owner))
                    .path(directory->path()));
  }
  return ConsumerStore(files, std::move(*directory));
}

}  // namespace

Error no_such_consumer(const LogFiles& files, std::string_view name) {
  Error error(errc::not_found, fmt::format("there is no consumer {}", name));
  error.path(files.root.path_of(file_name::kConsumers));
  return error.next(
      fmt::format("make it with: tailrace consumers {} create {}", files.root.path(), name));
}

Result<ConsumerStore> ConsumerStore::open(const LogFiles& files) {
  return check_owner(files, files.root.open_directory(file_name::kConsumers));
}

Result<ConsumerStore> ConsumerStore::open_or_make(const LogFiles& files) {
  if (!files.root.exists(file_name::kConsumers)) {
    auto made = files.root.make_directory(file_name::kConsumers, 03770);
    if (!made && made.error().code() != errc::exists) return fail(made.error());
    if (auto done = files.root.sync(); !done) return fail(done.error());
  }
  return open(files);
}

std::string ConsumerStore::file_of(std::string_view name) {
  return std::string(name).append(kFileEnd);
}

std::string ConsumerStore::lock_of(std::string_view name) {
  return std::string(name).append(kLockEnd);
}

Result<std::vector<std::string>> ConsumerStore::names() const {
  auto listed = directory_.list();
  if (!listed) return fail(listed.error());
  std::vector<std::string> names;
  std::map<uid_t, std::size_t> counts;
  std::sort(listed->begin(), listed->end());
  for (std::string& entry : *listed) {
    if (!entry.ends_with(kFileEnd)) continue;
    struct stat status {};
    if (::fstatat(directory_.fd(), entry.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (!S_ISREG(status.st_mode)) continue;
    if (status.st_uid != files_->owner && ++counts[status.st_uid] > kMostPerUser) continue;
    entry.resize(entry.size() - kFileEnd.size());
    if (!what_is_wrong_with_name(entry)) names.push_back(std::move(entry));
  }
  return names;
}

Result<bool> ConsumerStore::has_room_for(uid_t user) const {
  if (user == files_->owner) return true;
  auto all = names();
  if (!all) return fail(all.error());
  std::size_t count = 0;
  for (const std::string& name : *all) {
    struct stat status {};
    const int found =
        ::fstatat(directory_.fd(), file_of(name).c_str(), &status, AT_SYMLINK_NOFOLLOW);
    if (found == 0 && status.st_uid == user) ++count;
  }
  return count < kMostPerUser;
}

std::optional<uid_t> ConsumerStore::owner_of(const std::string& name) const {
  struct stat status {};
  if (::fstatat(directory_.fd(), file_of(name).c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
    return std::nullopt;
  }
  return status.st_uid;
}

Result<std::vector<std::string>> ConsumerStore::resolve(std::string_view name) const {
  if (auto wrong = what_is_wrong_with_name(name)) {
    return fail(Error(errc::invalid_argument, std::move(*wrong)));
  }
  if (has(std::string(name))) return std::vector<std::string>{std::string(name)};
  auto all = names();
  if (!all) return fail(all.error());
  std::map<std::uint32_t, std::string> members;
  std::uint32_t of = 0;
  for (std::string& each : *all) {
    const auto parsed = parse_member_name(each);
    if (!parsed || parsed->group != name) continue;
    of = std::max(of, parsed->members);
    const std::uint32_t member = parsed->member;
    members.emplace(member, std::move(each));
  }
  if (members.empty()) {
    return fail(no_such_consumer(*files_, name));
  }
  std::vector<std::string> whole;
  for (std::uint32_t member = 1; member <= of; ++member) {
    const auto found = members.find(member);
    if (found == members.end() || found->second != member_name(name, member, of)) {
      return fail(Error(errc::corrupt, fmt::format("the group {} is not whole: it has no {}", name,
                                                   member_name(name, member, of)))
                      .path(directory_.path())
                      .next(fmt::format("remove it, and make it anew: tailrace consumers {} remove "
                                        "{}",
                                        files_->root.path(), name)));
    }
    whole.push_back(found->second);
  }
  return whole;
}

Result<void> ConsumerStore::make(const ConsumerIdentity& identity, const Stamp& at) const {
  std::array<std::byte, kConsumerFileBytes> bytes{};
  const ConsumerHeader header = make_header(identity, files_->meta, files_->crc_seed);
  std::memcpy(bytes.data(), &header, sizeof header);
  const std::uint32_t seed = consumer_crc_seed(files_->crc_seed, header.id);
  for (const std::uint64_t generation : {std::uint64_t{1}, std::uint64_t{2}}) {
    const ConsumerSlot slot = make_slot(at, generation, 0, seed);
    std::memcpy(bytes.data() + kSlotOffset[generation & 1], &slot, sizeof slot);
    std::memcpy(bytes.data() + kDurableSlotOffset, &slot, sizeof slot);
  }
  ConsumerOwner nobody{};
  seal(nobody, seed);
  std::memcpy(bytes.data() + kOwnerOffset, &nobody, sizeof nobody);

  // A name that nobody can have made before us: others may write here too.
  std::uint64_t random = 0;
  if (auto done = random_bytes(&random, sizeof random, directory_.path()); !done) return done;
  const std::string beside = fmt::format(".{:016x}.new", random);
  const std::string path = directory_.path_of(beside);
  auto file = directory_.open_file(beside, O_WRONLY | O_CREAT | O_EXCL, 0640);
  if (!file) return fail(file.error());
  auto done = write_all(file->get(), bytes.data(), bytes.size(), 0, path);
  if (done) done = sync_file(file->get(), path);
  if (done) done = directory_.rename(beside, file_of(identity.name));
  if (!done) {
    static_cast<void>(directory_.remove(beside));
    return done;
  }
  return directory_.sync();
}

Result<void> ConsumerStore::remove(const std::string& name) const {
  if (auto done = directory_.remove(file_of(name)); !done) return done;
  if (auto done = directory_.remove(lock_of(name)); !done) return done;
  return directory_.sync();
}

Result<Fd> ConsumerStore::take(const std::string& name) const {
  const std::string entry = lock_of(name);
  const std::string path = directory_.path_of(entry);
  for (;;) {
    auto lock = directory_.open_file(entry, O_RDWR | O_CREAT, 0600);
    if (!lock) {
      Error error = lock.error();
      if (error.code() == errc::permission) error.next("the name is another user's: take your own");
      return fail(std::move(error));
    }
    struct stat mine {};
    if (::fstat(lock->get(), &mine) != 0) return fail(sys_error("cannot examine", path, errno));
    if (mine.st_uid != ::geteuid() || mine.st_nlink > 1) {
      return fail(Error(errc::permission, "the lock of this name is another user's").path(path));
    }
    auto won = lock_file(lock->get(), 0, path);
    if (won && !*won && lock_holder(lock->get()) == 0) {
      won = lock_file(lock->get(), kDeadOwnersChildMs, path);
    }
    if (!won) return fail(won.error());
    if (!*won) {
      Error error(errc::locked, fmt::format("another process is the consumer {}", name));
      error.path(directory_.path_of(file_of(name))).pid(lock_holder(lock->get()));
      return fail(error.next("stop that process first"));
    }
    // Whoever removes a consumer removes its lock: what has just been won may be no name any more.
    struct stat there {};
    const int found = ::fstatat(directory_.fd(), entry.c_str(), &there, AT_SYMLINK_NOFOLLOW);
    if (found == 0 && there.st_ino == mine.st_ino && there.st_dev == mine.st_dev) {
      return std::move(*lock);
    }
  }
}

}  // namespace tailrace
