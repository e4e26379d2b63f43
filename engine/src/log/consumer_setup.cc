#include <fmt/format.h>

#include <algorithm>

#include "base/clock.h"
#include "file/process.h"
#include "log/consumer_impl.h"

namespace tailrace {
namespace {

Error invalid(const std::string& what) { return {errc::invalid_argument, what}; }

Result<void> check(const LogFiles& files, std::string_view name, const ConsumerSetup& setup) {
  if (auto wrong = what_is_wrong_with_name(name)) return fail(invalid(*wrong));
  if (parse_member_name(name)) {
    return fail(invalid(fmt::format("{} is the name of a group's member: make the group", name)));
  }
  if (setup.members == 0 || setup.members > kMaxMembers) {
    return fail(
        invalid(fmt::format("{} members: from 1 to {} are possible", setup.members, kMaxMembers)));
  }
  if (setup.start.kind == StartAt::Kind::sequence && setup.start.sequence == 0) {
    return fail(invalid("sequences begin with 1"));
  }
  if (!setup.retain) return {};
  if (setup.retain->cap_bytes == 0) return fail(invalid("what is retained has a cap, and not 0"));
  if (::geteuid() == files.owner || ::geteuid() == 0) return {};
  return fail(Error(errc::permission, "only the log's owner may keep others from trimming it")
                  .path(files.root.path())
                  .next("make the consumer without retaining, or ask the owner to make it"));
}

Result<std::vector<GateName>> find_gates(const ConsumerStore& store, const ConsumerSetup& setup) {
  std::vector<GateName> gates;
  for (const std::string& name : setup.after) {
    auto members = store.resolve(name);
    if (!members) return fail(members.error());
    for (const std::string& member : *members) {
      auto file = StoredConsumer::open(store, member);
      if (!file) return fail(file.error());
      const auto same = [&member](const GateName& gate) { return gate.name == member; };
      if (std::any_of(gates.begin(), gates.end(), same)) continue;
      gates.push_back({file->identity().id, member});
    }
  }
  if (gates.size() > kMaxGates) {
    return fail(invalid(fmt::format("{} gates: at most {} are possible", gates.size(), kMaxGates)));
  }
  return gates;
}

/// Whether a consumer or a group has this name already.
Result<void> check_free(const ConsumerStore& store, std::string_view name) {
  auto all = store.names();
  if (!all) return fail(all.error());
  for (const std::string& each : *all) {
    const auto member = parse_member_name(each);
    if (each != name && !(member && member->group == name)) continue;
    return fail(Error(errc::exists, fmt::format("there is a consumer {} already", each))
                    .path(store.directory().path_of(ConsumerStore::file_of(each))));
  }
  return {};
}

std::vector<std::string> names_of(std::string_view name, std::uint32_t members) {
  if (members == 1) return {std::string(name)};
  std::vector<std::string> names;
  for (std::uint32_t i = 1; i <= members; ++i) names.push_back(member_name(name, i, members));
  return names;
}

Result<Stamp> start_stamp(const LogFiles& files, Follow follow, const StartAt& at) {
  ReaderOptions options;
  options.follow = follow;
  auto reader = Reader::open(files.root.path(), options);
  if (!reader) return fail(reader.error());
  return stamp_for(*reader, at);
}

Result<void> make(const ConsumerStore& store, std::string_view name, const ConsumerSetup& setup) {
  auto gates = find_gates(store, setup);
  if (!gates) return fail(gates.error());
  const auto at = start_stamp(store.files(), setup.follow, setup.start);
  if (!at) return fail(at.error());
  std::vector<Fd> locks;  // all names at once, so that no two groups come to lie side by side
  const std::vector<std::string> names = names_of(name, setup.members);
  for (const std::string& each : names) {
    auto lock = store.take(each);
    if (!lock) return fail(lock.error());
    locks.push_back(std::move(*lock));
  }
  if (auto free = check_free(store, name); !free) return free;
  ConsumerIdentity identity;
  identity.created_ns = Clock::kernel_ns();
  identity.members = setup.members;
  identity.follow = setup.follow;
  identity.durable_effects = setup.durable_effects;
  identity.gates = std::move(*gates);
  identity.retain = setup.retain;
  Result<void> done;
  for (std::size_t i = 0; i < names.size() && done; ++i) {
    identity.name = names[i];
    identity.member = static_cast<std::uint32_t>(i) + 1;
    done = random_bytes(identity.id.bytes.data(), identity.id.bytes.size(), "consumer");
    if (done) done = store.make(identity, *at);
  }
  if (done) return done;
  // A group is there whole or not at all.
  for (const std::string& each : names) static_cast<void>(store.remove(each));
  return done;
}

/// What there is of a consumer or group, whole or not.
Result<std::vector<std::string>> present(const ConsumerStore& store, std::string_view name) {
  if (auto wrong = what_is_wrong_with_name(name)) return fail(invalid(*wrong));
  if (store.has(std::string(name))) return std::vector<std::string>{std::string(name)};
  auto all = store.names();
  if (!all) return fail(all.error());
  std::erase_if(*all, [name](const std::string& each) {
    const auto member = parse_member_name(each);
    return !member || member->group != name;
  });
  if (all->empty()) return fail(no_such_consumer(store.files(), name));
  return all;
}

/// The name for removal: its lock, or, of another user's consumer, the proof that nobody has it.
Result<Fd> take_to_remove(const ConsumerStore& store, const std::string& name) {
  auto lock = store.take(name);
  if (lock || lock.error().code() != errc::permission) return lock;
  const auto file = StoredConsumer::open(store, name);
  const auto progress = file ? file->read() : fail(file.error());
  if (!progress || owner_state(progress->owner) != OwnerState::live) return Fd();
  return fail(Error(errc::locked, fmt::format("another process is the consumer {}", name))
                  .path(file->path())
                  .pid(progress->owner->pid));
}

struct Opened {
  LogFiles files;
  std::optional<ConsumerStore> store;
};

/// `opened` must stay where it is: the store refers to its files.
Result<void> open_store(const std::filesystem::path& log, std::string_view name, Opened& opened) {
  auto files = LogFiles::open(log);
  if (!files) return fail(files.error());
  opened.files = std::move(*files);
  auto store = ConsumerStore::open(opened.files);
  if (!store && store.error().code() == errc::not_found) {
    return fail(no_such_consumer(opened.files, name));
  }
  if (!store) return fail(store.error());
  opened.store.emplace(std::move(*store));
  return {};
}

}  // namespace

Result<void> create_consumer(const std::filesystem::path& log, std::string_view name,
                             const ConsumerSetup& setup) {
  auto files = LogFiles::open(log);
  if (!files) return fail(files.error());
  if (auto right = check(*files, name, setup); !right) return right;
  auto store = ConsumerStore::open_or_make(*files);
  if (!store) return fail(store.error());
  if (auto free = check_free(*store, name); !free) return free;
  auto room = store->has_room_for(::geteuid());
  if (!room) return fail(room.error());
  if (!*room) {
    return fail(Error(errc::no_space, "this user has as many consumers of the log as count")
                    .path(store->directory().path())
                    .next("remove those that are not needed"));
  }
  return make(*store, name, setup);
}

Result<void> remove_consumer(const std::filesystem::path& log, std::string_view name) {
  Opened opened;
  if (auto done = open_store(log, name, opened); !done) return done;
  auto names = present(*opened.store, name);
  if (!names) return fail(names.error());
  std::vector<Fd> locks;
  for (const std::string& each : *names) {
    auto lock = take_to_remove(*opened.store, each);
    if (!lock) return fail(lock.error());
    locks.push_back(std::move(*lock));
  }
  for (const std::string& each : *names) {
    if (auto done = opened.store->remove(each); !done) return done;
  }
  return {};
}

Result<void> reset_consumer(const std::filesystem::path& log, std::string_view name,
                            const StartAt& to) {
  Opened opened;
  if (auto done = open_store(log, name, opened); !done) return done;
  auto names = opened.store->resolve(name);
  if (!names) return fail(names.error());
  std::vector<OwnConsumer> owned;
  for (const std::string& each : *names) {
    auto own = OwnConsumer::open(*opened.store, each);
    if (!own) return fail(own.error());
    owned.push_back(std::move(*own));
  }
  const auto at = start_stamp(opened.files, owned.front().file().identity().follow, to);
  if (!at) return fail(at.error());
  for (OwnConsumer& own : owned) {
    if (const auto progress = own.file().read()) own.continue_from(*progress);
    if (auto done = own.replace(*at, Clock::kernel_ns()); !done) return done;
  }
  return {};
}

Result<Stamp> commit_consumer(const std::filesystem::path& log, std::string_view name,
                              Sequence sequence, Epoch epoch, CommitKind kind) {
  auto opened = Consumer::open(log, name);
  if (!opened) return fail(opened.error());
  Consumer& consumer = *opened;
  if (auto moved = consumer.impl_->pass(sequence, epoch); !moved) return fail(moved.error());
  auto done = kind == CommitKind::durable ? consumer.commit_durable() : consumer.commit();
  if (!done) return fail(done.error());
  return consumer.committed();
}

}  // namespace tailrace
