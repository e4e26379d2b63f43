// A state that lives in memory as it lies in its snapshot: what is in it after a restart, in
// another process, and after the file was damaged in ways that its checksum does not see.

#include "tailrace/mapped_state.h"

#include <sys/wait.h>

#include <fstream>
#include <map>
#include <random>

#include "common/damage.h"
#include "common/temp_log.h"
#include "consumers/consumers.h"
#include "tailrace/mapped_containers.h"

namespace tailrace::test {
namespace {

constexpr const char* kName = "users";

struct User {
  std::uint64_t visits = 0;
  MappedString city;
  explicit User(const StateAllocator<std::byte>& allocator) : city(allocator) {}
  User(const User& other, const StateAllocator<std::byte>& allocator)
      : visits(other.visits), city(other.city, allocator) {}
  using allocator_type = StateAllocator<std::byte>;
};

struct Users {
  MappedHashMap<MappedString, User> by_name;
  MappedMap<std::uint64_t, MappedVector<MappedString>> names_by_length;
  std::uint64_t changes = 0;
  explicit Users(const StateAllocator<std::byte>& allocator)
      : by_name(allocator), names_by_length(allocator) {}
};

const std::string kSchema = state_schema<Users>("1");

User* find(MappedState<Users>& state, std::string_view name) {
  const auto it = state->by_name.find(name, MappedHash(), MappedEqual());
  return it == state->by_name.end() ? nullptr : &it->second;
}

const User* find(const Users& users, std::string_view name) {
  const auto it = users.by_name.find(name, MappedHash(), MappedEqual());
  return it == users.by_name.end() ? nullptr : &it->second;
}

/// The same in ordinary memory.
using Model = std::map<std::string, std::pair<std::uint64_t, std::string>>;

void visit(MappedState<Users>& state, Model& model, const std::string& name,
           const std::string& city) {
  User* user = find(state, name);
  if (user == nullptr) {
    user = &state->by_name[MappedString(name.c_str(), state.allocator())];
    state->names_by_length[name.size()].emplace_back(name.c_str());
  }
  user->visits += 1;
  user->city.assign(city.data(), city.size());
  ++state->changes;
  model[name] = {model[name].first + 1, city};
}

void leave(MappedState<Users>& state, Model& model, const std::string& name) {
  const auto it = state->by_name.find(std::string_view(name), MappedHash(), MappedEqual());
  if (it != state->by_name.end()) state->by_name.erase(it);
  model.erase(name);
}

std::string what_differs(const Users& users, const Model& model) {
  if (users.by_name.size() != model.size()) {
    return std::to_string(users.by_name.size()) + " users, not " + std::to_string(model.size());
  }
  for (const auto& [name, expected] : model) {
    const User* const user = find(users, name);
    if (user == nullptr) return name + " is missing";
    if (user->visits != expected.first || view_of(user->city) != expected.second) {
      return name + " differs";
    }
  }
  return {};
}

class MappedStates : public testing::Test {
 protected:
  MappedStates() : writer_(log_.writer()) {}

  /// A stamp of a durable record further on.
  Stamp stamp() {
    append(writer_, 1);
    if (!consumer_) consumer_.emplace(must(Consumer::open(log_.path(), "stamps", made())));
    RecordView record;
    while (consumer_->next(record, std::chrono::seconds(10)) == Delivery::record) {
      if (record.sequence == writer_.last_sequence()) break;
    }
    return consumer_->stamp();
  }

  SnapshotInfo take(MappedState<Users>& state) {
    auto writer = must(SnapshotWriter::create(log_.path(), kName, kSchema, stamp()));
    must(state.write_to(writer));
    return must(writer.publish());
  }

  Snapshot newest(Verify verify = Verify::up_front) {
    return must(Snapshot::open_latest(log_.path(), kName, kSchema, {.verify = verify}));
  }

  TempLog log_;
  Writer writer_;
  std::optional<Consumer> consumer_;
};

TEST_F(MappedStates, GoesOnFromItsSnapshotAsIfItHadNeverStopped) {
  const std::uint64_t seed = run_seed();
  std::mt19937_64 random(seed);
  Model model;
  auto state = must(MappedState<Users>::create());
  std::uint64_t changes = 0;
  for (int life = 0; life < 12; ++life) {
    const std::uint64_t so_many = random() % 4000;
    for (std::uint64_t i = 0; i < so_many; ++i) {
      const std::string name = "user" + std::to_string(random() % 3000);
      if (random() % 4 == 0) {
        leave(state, model, name);
      } else {
        visit(state, model, name,
              std::string(random() % 60, static_cast<char>('a' + random() % 26)));
        ++changes;
      }
    }
    take(state);
    EXPECT_EQ(what_differs(*state, model), "") << "the one it was taken of, life " << life;
    state = must(MappedState<Users>::open(newest()));
    EXPECT_EQ(what_differs(*state, model), "") << "life " << life;
    EXPECT_EQ(state->changes, changes);
  }
}

TEST_F(MappedStates, WhatChangesWhileTheChildWritesIsNotInTheSnapshot) {
  Model model;
  auto state = must(MappedState<Users>::create());
  for (int i = 0; i < 20'000; ++i) visit(state, model, "user" + std::to_string(i), "Detroit");
  auto writer = must(SnapshotWriter::create(log_.path(), kName, kSchema, stamp()));
  must(state.write_to(writer));
  const Model then = model;
  for (int i = 0; i < 40'000; ++i)
    visit(state, model, "user" + std::to_string(i), "Boston, Massachusetts");
  for (int i = 0; i < 10'000; ++i) leave(state, model, "user" + std::to_string(i));
  must(writer.publish());
  auto again = must(MappedState<Users>::open(newest()));
  EXPECT_EQ(what_differs(*again, then), "");
  EXPECT_EQ(what_differs(*state, model), "");
}

TEST_F(MappedStates, ChangingAStateLeavesTheFileAndOtherReadersAsTheyWere) {
  Model model;
  auto state = must(MappedState<Users>::create());
  for (int i = 0; i < 1000; ++i) visit(state, model, "user" + std::to_string(i), "Detroit");
  take(state);
  const auto view = must(MappedView<Users>::open_latest(log_.path(), kName, "1"));
  auto changed = must(MappedState<Users>::open(newest()));
  Model other = model;
  for (int i = 0; i < 5000; ++i) visit(changed, other, "user" + std::to_string(i), "Boston");
  EXPECT_EQ(what_differs(*changed, other), "");
  EXPECT_EQ(what_differs(*view, model), "");
  EXPECT_EQ(what_differs(*must(MappedState<Users>::open(newest())), model), "");
}

TEST_F(MappedStates, AnotherProcessLooksUpInTheFileItself) {
  Model model;
  auto state = must(MappedState<Users>::create());
  for (int i = 0; i < 1000; ++i) visit(state, model, "user" + std::to_string(i), "Detroit");
  take(state);
  const pid_t child = ::fork();
  if (child == 0) {
    const auto view = MappedView<Users>::open_latest(log_.path(), kName, "1");
    if (!view) ::_exit(2);
    const User* const user = find(**view, "user77");
    ::_exit(user != nullptr && view_of(user->city) == "Detroit" && !find(**view, "nobody") ? 0 : 3);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_F(MappedStates, PlainDataNeedsNoAllocator) {
  struct Counts {
    std::uint64_t flights = 0;
    double miles = 0;
  };
  auto state = must(MappedState<Counts>::create());
  state->flights = 7;
  auto writer =
      must(SnapshotWriter::create(log_.path(), "counts", state_schema<Counts>("1"), stamp()));
  must(state.write_to(writer));
  const SnapshotInfo info = must(writer.publish());
  EXPECT_LT(info.body_size_bytes, 4096u);
  EXPECT_EQ((*must(MappedView<Counts>::open_latest(log_.path(), "counts", "1"))).flights, 7u);
}

TEST_F(MappedStates, GrowsToManyTimesWhatTheSnapshotHeld) {
  Model model;
  auto state = must(MappedState<Users>::create());
  visit(state, model, "first", "Detroit");
  take(state);
  state = must(MappedState<Users>::open(newest()));
  for (int i = 0; i < 200'000; ++i)
    visit(state, model, "user" + std::to_string(i), "Grand Rapids, Michigan");
  EXPECT_GT(take(state).body_size_bytes, std::uint64_t{20} << 20);
  EXPECT_EQ(what_differs(*must(MappedState<Users>::open(newest(Verify::trusted))), model), "");
}

TEST_F(MappedStates, ABodyThatIsNoMappedStateIsRefused) {
  struct Head {
    std::uint64_t magic = StateMemory::kMagic;
    std::uint64_t root = 64;
    std::uint64_t segment_size_bytes = 4096 - 64;
    std::uint64_t reserved[5] = {};
  };
  const auto opened = [&](const Head& head, std::size_t body_bytes) {
    std::vector<std::byte> body(body_bytes);
    const auto bytes = std::as_bytes(std::span(&head, 1));
    std::copy_n(bytes.begin(), std::min(bytes.size(), body_bytes), body.begin());
    auto writer = must(SnapshotWriter::create(log_.path(), kName, kSchema, stamp()));
    must(writer.write(body));
    must(writer.publish());
    const auto view = MappedView<Users>::open_latest(log_.path(), kName, "1");
    const auto state = MappedState<Users>::open(newest());
    EXPECT_EQ(view.has_value(), state.has_value());
    return view ? errc{} : code(view);
  };
  EXPECT_EQ(opened({.magic = 1}, 4096), errc::corrupt);
  EXPECT_EQ(opened({.root = 4096 - 16}, 4096), errc::corrupt);  // it would end behind the body
  EXPECT_EQ(opened({.root = 72}, 4096), errc::corrupt);         // nothing is laid out like this
  EXPECT_EQ(opened({.root = ~std::uint64_t{7}}, 4096), errc::corrupt);
  EXPECT_EQ(opened({.root = 0}, 4096), errc::corrupt);
  EXPECT_EQ(opened({.segment_size_bytes = 4096}, 4096), errc::corrupt);
  EXPECT_EQ(opened({}, 8192), errc::corrupt);
  EXPECT_EQ(opened({}, 63), errc::corrupt);
  EXPECT_EQ(opened({}, 0), errc::corrupt);
}

TEST_F(MappedStates, AnotherLayoutIsAnotherSchema) {
  EXPECT_NE(state_schema<Users>("1"), state_schema<Users>("2"));
  EXPECT_NE(state_schema<Users>("1"), state_schema<User>("1"));
  EXPECT_LT(kSchema.size(), kMaxSchemaBytes);
}

}  // namespace
}  // namespace tailrace::test
