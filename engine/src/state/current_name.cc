#include "state/current_name.h"

#include <fmt/format.h>

#include "base/clock.h"
#include "base/planted.h"
#include "log/stamp_place.h"

namespace tailrace {
namespace {

using namespace std::chrono_literals;

/// Another version waits at most so long for this one to see that it wants the name.
constexpr auto kNameLook = 50ms;
/// While the name stands still, or is waited for.
constexpr auto kQuickNameLook = 2ms;
/// A successor that does not take the name within this has died; and one that has the lock and does
/// not come to where the name stands within this lets go of it.
constexpr auto kNameHandover = 500ms;

/// Whether NAME has to go back to come to where the state is.
bool goes_back(const Stamp& stamp, const std::optional<ConsumerProgress>& found) noexcept {
  return !found || !reached(stamp, found->committed);
}

}  // namespace

/// An error is told once, and the projection goes on: the name is not what it lives by.
void CurrentName::told(const Error& error) {
  std::string text = error.message();
  if (text == told_) return;
  told_ = std::move(text);
  if (note_) note_(fmt::format("the name {}: {}", name_, told_));
}

Result<void> CurrentName::open(const Stamp& stamp, const Stamp& durable, Time now) {
  if (auto current = read_alias(store_.files(), name_, AliasRole::current); !current) {
    return fail(current.error());
  }
  sweep_aliases(store_.files(), name_);
  if (!store_.has(name_)) {
    auto made = create_consumer(store_.files().root.path(), name_, setup_);
    if (!made && made.error().code() != errc::exists) return made;
  }
  before_ = stamp;
  static_cast<void>(look(stamp, durable, false, now));
  return {};
}

bool CurrentName::may_have(const std::optional<NamedVersion>& current,
                           const std::optional<NamedVersion>& wanted) const noexcept {
  return !current || version_ > current->highest || (wanted && wanted->version == version_);
}

CurrentName::Time CurrentName::look(const Stamp& stamp, const Stamp& durable, bool at_end,
                                    Time now) {
  const auto current = read_alias(store_.files(), name_, AliasRole::current);
  const auto wanted = read_alias(store_.files(), name_, AliasRole::wanted);
  asking_ = false;
  if (!current || !wanted) {
    told(current ? wanted.error() : current.error());
  } else if (*current && (*current)->version == version_) {
    hold(*wanted, stamp, durable, now);
  } else if (may_have(*current, *wanted)) {
    strive(*current, *wanted, stamp, durable, at_end, now);
  } else {
    step_back((*current)->version);
  }
  before_ = stamp;
  const bool stands_still = own_ && !current_;
  return now + (asking_ || stands_still ? kQuickNameLook : kNameLook);
}

/// The name is another version's.
void CurrentName::step_back(std::uint32_t to) {
  if (current_ && note_) {
    note_(fmt::format("{} now stands for version {}: version {} goes on as {} alone", name_, to,
                      version_, version_name(name_, version_)));
  }
  current_ = false;
  own_.release();
}

/// The lock of consumer NAME. False: somebody else has it.
Result<bool> CurrentName::take() {
  auto own = OwnConsumer::open(store_, name_);
  if (!own && own.error().code() == errc::locked) return false;
  if (!own) {
    if (own.error().code() == errc::not_found) {  // removed: its followers know
      auto made = create_consumer(store_.files().root.path(), name_, setup_);
      if (!made && made.error().code() != errc::exists) return fail(made.error());
      own = OwnConsumer::open(store_, name_);
    }
    if (!own) return fail(own.error());
  }
  own_ = std::move(*own);
  ++takes_;
  found_.reset();
  if (auto progress = own_.file().read()) {
    own_.continue_from(*progress);
    found_ = *progress;
  }
  return true;
}

/// The alias says that this is the current version.
void CurrentName::hold(const std::optional<NamedVersion>& wanted, const Stamp& stamp,
                       const Stamp& durable, Time now) {
  current_ = true;
  if (own_ && own_.file().removed()) own_.release();
  if (!own_) {
    if (now < not_before_) return;
    const auto taken = take();
    if (!taken) return told(taken.error());
    if (!*taken) return;  // a version that is about to have the name, or has died: seen next time
    // Whoever had the lock until now may have given the name away with it.
    const auto again = read_alias(store_.files(), name_, AliasRole::current);
    if (!again || !*again || (*again)->version != version_) {
      own_.release();
      return;
    }
    put_where_the_state_is(stamp, durable);
    own_.sign();
    return;
  }
  if (!wanted || wanted->version == version_ || !successor_is_close(wanted->version)) return;
  own_.hand_over();
  not_before_ = now + kNameHandover;
}

/// Consumer NAME says from now on what is in this version's state, and no more than `durable` would
/// survive a power cut.
void CurrentName::put_where_the_state_is(const Stamp& stamp, const Stamp& durable) {
  Result<void> done;
  if (goes_back(stamp, found_)) {
    if (planted(Mistake::alias_stays_ahead)) return;
    done = own_.replace(stamp, Clock::kernel_ns());
  } else {
    own_.put(stamp, Clock::kernel_ns());
  }
  if (done) done = own_.sync(durable);
  if (!done) told(done.error());
}

/// Whether another version lives and has come to where this one was at the last look.
bool CurrentName::successor_is_close(std::uint32_t version) const {
  const auto file = StoredConsumer::open(store_, version_name(name_, version));
  if (!file) return false;
  const auto progress = file->read();
  return progress && owner_state(progress->owner) == OwnerState::live &&
         reached(progress->committed, before_);
}

/// The alias names another version, or none, and this one may have it.
void CurrentName::strive(const std::optional<NamedVersion>& current,
                         const std::optional<NamedVersion>& wanted, const Stamp& stamp,
                         const Stamp& durable, bool at_end, Time now) {
  if (current_) step_back(current ? current->version : 0);
  if (!own_) {
    const auto file = StoredConsumer::open(store_, name_);
    const auto progress = file ? file->read() : fail(file.error());
    // At the log's end what is not reached is not in the log, or is about to be folded.
    const bool near = at_end || !progress || reached(stamp, progress->committed) ||
                      planted(Mistake::alias_switched_early);
    if (!near) return;
    const auto taken = take();
    if (!taken) return told(taken.error());
    if (!*taken) return ask(current, wanted);
    taken_at_ = now;
    const auto again = read_alias(store_.files(), name_, AliasRole::current);
    if (!again || *again != current) {
      own_.release();
      return;
    }
    own_.sign();
  }
  const bool there = !found_ || reached(stamp, found_->committed) || !in_log(found_->committed) ||
                     planted(Mistake::alias_switched_early);
  if (!there) {
    if (now - taken_at_ > kNameHandover) own_.release();
    return;
  }
  const NamedVersion mine{version_, std::max(current ? current->highest : 0, version_)};
  if (auto done = write_alias(store_.files(), name_, AliasRole::current, mine); !done) {
    told(done.error());
    own_.release();  // whatever of it is there now is seen at the next look
    return;
  }
  current_ = true;
  put_where_the_state_is(stamp, durable);
  if (current && note_) {
    note_(fmt::format("{} now stands for version {} instead of {}", name_, version_,
                      current->version));
  }
}

/// Another version has the lock: it is told that this one has come as far.
void CurrentName::ask(const std::optional<NamedVersion>& current,
                      const std::optional<NamedVersion>& wanted) {
  asking_ = true;
  if (wanted && wanted->version == version_) return;
  // A still newer one goes first, if it lives.
  if (wanted && wanted->version > version_ && (!current || wanted->version != current->version)) {
    const auto file = StoredConsumer::open(store_, version_name(name_, wanted->version));
    const auto progress = file ? file->read() : fail(file.error());
    if (progress && owner_state(progress->owner) == OwnerState::live) return;
  }
  auto done = write_alias(store_.files(), name_, AliasRole::wanted, {version_, 0});
  if (!done) told(done.error());
}

/// Whether a record is in the log, or was before it was trimmed, or it cannot be told.
bool CurrentName::in_log(const Stamp& stamp) const {
  auto probe = Reader::open(store_.files().root.path());
  if (!probe) return true;
  const auto place = place_behind(*probe, stamp);
  return place || place.error().code() != errc::diverged;
}

void CurrentName::moved(const Stamp& stamp) noexcept {
  if (!current_ || !own_) return;
  own_.put(stamp, Clock::coarse_ns());
}

Result<void> CurrentName::go_back(const Stamp& stamp) {
  if (!current_ || !own_) return {};
  ++takes_;
  return own_.replace(stamp, Clock::kernel_ns());
}

Result<CurrentName::Sync> CurrentName::begin_sync() {
  if (!current_ || !own_) return Sync{};
  auto file = own_.begin_sync();
  if (!file) return fail(file.error());
  return Sync{std::move(*file), takes_};
}

Result<void> CurrentName::end_sync(const Sync& begun, const Result<void>& synced,
                                   const Stamp& durable) {
  if (!begun.file || !own_ || begun.take != takes_) return {};
  return own_.end_sync(synced, durable);
}

}  // namespace tailrace
