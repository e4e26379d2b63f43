#include <fmt/format.h>

#include <algorithm>

#include "base/clock.h"
#include "base/planted.h"
#include "log/consumer_filter.h"
#include "log/consumer_impl.h"

namespace tailrace {

Consumer::Impl::Impl(LogFiles files, Directory consumers, Reader reader) noexcept
    : files_(std::move(files)), store_(files_, std::move(consumers)), reader_(std::move(reader)) {}

/// Whether the consumer that is there is the one that open() would have made.
Result<void> Consumer::Impl::check_setup(const ConsumerSetup& setup) const {
  const ConsumerIdentity& me = identity();
  std::vector<std::string> gates;
  for (const std::string& name : setup.after) {
    auto resolved = store_.resolve(name);
    if (!resolved) return fail(resolved.error());
    gates.insert(gates.end(), resolved->begin(), resolved->end());
  }
  const bool same_gates =
      gates.size() == me.gates.size() &&
      std::equal(gates.begin(), gates.end(), me.gates.begin(),
                 [](const std::string& name, const GateName& gate) { return name == gate.name; });
  const bool same_retain = setup.retain.has_value() == me.retain.has_value() &&
                           (!me.retain || (me.retain->cap_bytes == setup.retain->cap_bytes &&
                                           me.retain->over_cap == setup.retain->over_cap));
  if (same_gates && same_retain && setup.follow == me.follow &&
      setup.durable_effects == me.durable_effects) {
    return {};
  }
  return fail(Error(errc::invalid_argument,
                    fmt::format("the consumer {} was made with another setup{}", me.name,
                                same_gates ? "" : ": its gates never change"))
                  .path(own_.file().path())
                  .next("open it without one, or remove it and make it anew"));
}

Result<void> Consumer::Impl::open(const std::string& name, const ConsumerOptions& options,
                                  const std::optional<Stamp>& at) {
  auto own = OwnConsumer::open(store_, name);
  if (!own) return fail(own.error());
  own_ = std::move(*own);
  if (options.create) {
    if (auto same = check_setup(*options.create); !same) return same;
  }
  auto progress = own_.file().read();
  if (!progress && !at) return fail(progress.error());
  if (progress) own_.continue_from(*progress);
  if (at && (!progress || progress->committed != *at) && !planted(Mistake::consumer_not_put_back)) {
    if (auto put = own_.replace(*at, Clock::kernel_ns()); !put) return put;
  }
  committed_ = handed_ = behind_ = at ? *at : progress->committed;

  ReaderOptions reader_options;
  reader_options.follow = identity().follow;
  reader_options.wait = options.wait;
  auto reader = Reader::open(files_.root.path(), reader_options);
  if (!reader) return fail(reader.error());
  reader_ = std::move(*reader);
  filter_ = options.filter;
  filters_ = identity().members > 1 || filters_anything(filter_);
  gate_kind_ = identity().durable_effects ? GateKind::durable : GateKind::committed;
  for (const GateName& gate : identity().gates) {
    auto opened = Gate::open(store_, gate);
    if (!opened) return fail(opened.error());
    gates_.push_back(std::move(*opened));
  }
  if (auto looked = look_at_gates(); !looked) return looked;
  if (auto resumed = resume(at ? ConsumerProgress{} : *progress); !resumed) return resumed;
  own_.sign();
  return {};
}

/// Finds the place behind what is committed.
Result<void> Consumer::Impl::resume(const ConsumerProgress& progress) {
  const auto answer = settle_place();
  if (!answer || *answer != Delivery::failed) return {};
  Error error = *error_;
  // Even where the epochs tell nothing, the commit before may be one that fits.
  if (error.code() == errc::diverged && error.sequence() == kUnknown && progress.older) {
    auto probe = Reader::open(files_.root.path());
    if (probe) {
      const auto older = place_behind(*probe, *progress.older);
      if (older && *older) error.sequence(progress.older->sequence);
    }
  }
  if (error.code() == errc::diverged || error.code() == errc::gone) {
    const std::string to = error.code() == errc::gone     ? "start"
                           : error.sequence() == kUnknown ? "start|end|SEQ"
                                                          : fmt::format("{}", error.sequence() + 1);
    error.next(fmt::format("{}run: tailrace consumers {} reset {} --to {}",
                           error.code() == errc::gone ? "to go on without them "
                                                      : "undo what was done behind that, then ",
                           files_.root.path(), identity().name, to));
  }
  return fail(std::move(error));
}

/// The place behind what was handed out is looked for again when a recovery has been at the log:
/// it may have cut off what this consumer has seen.
std::optional<Delivery> Consumer::Impl::settle_place() {
  const std::uint64_t generation = reader_generation();
  const ControlFile& control = ReaderAccess::impl(reader_).control();
  if (!placed_ && generation == generation_ && !control.of_this_boot() && has_looked_) {
    return Delivery::end;  // nothing has changed since the last look that told nothing
  }
  has_looked_ = true;
  if ((generation & 1) != 0) return Delivery::end;
  auto probe = Reader::open(files_.root.path());
  if (!probe) return failed(probe.error());
  auto place = place_behind(*probe, behind_);
  if (!place) return failed(place.error());
  if (*place && has_pending_) {
    const auto pending = place_behind(*probe, stamp_of_record(reader_, pending_, behind_.log_id));
    if (pending_.sequence != behind_.sequence + 1 || !pending || !*pending) placed_ = false;
  }
  generation_ = generation;
  if (!*place) {
    placed_ = false;
    return Delivery::end;
  }
  ReaderAccess::Impl& reader = ReaderAccess::impl(reader_);
  if (!placed_ || (!has_pending_ && reader.position() != (*place)->position)) {
    has_pending_ = false;
    reader.stand_at(**place);  // no seek of the user's: views live on
  }
  placed_ = true;
  return std::nullopt;
}

Result<Consumer> Consumer::open(const std::filesystem::path& log, std::string_view name,
                                const ConsumerOptions& options) {
  if (options.at) {
    auto probe = Reader::open(log);
    if (!probe) return fail(probe.error());
    if (const auto place = place_behind(*probe, *options.at); !place) return fail(place.error());
  }
  return ConsumerAccess::open(log, name, options, options.at);
}

Result<Consumer> ConsumerAccess::open(const std::filesystem::path& log, std::string_view name,
                                      const ConsumerOptions& options,
                                      const std::optional<Stamp>& at) {
  if (auto wrong = what_is_wrong_with_name(name)) {
    return fail(Error(errc::invalid_argument, std::move(*wrong)));
  }
  if (options.create && options.create->members > 1) {
    return fail(Error(errc::invalid_argument,
                      "a group is made by create_consumer, and its members "
                      "are opened one by one"));
  }
  auto files = LogFiles::open(log);
  if (!files) return fail(files.error());
  auto reader = Reader::open(log);
  if (!reader) return fail(reader.error());
  auto store = options.create ? ConsumerStore::open_or_make(*files) : ConsumerStore::open(*files);
  if (!store && store.error().code() == errc::not_found) {
    return fail(no_such_consumer(*files, name));
  }
  if (!store) return fail(store.error());
  auto resolved = store->resolve(name);
  if (!resolved && resolved.error().code() == errc::not_found && options.create) {
    auto made = create_consumer(log, name, *options.create);
    if (!made && made.error().code() != errc::exists) return fail(made.error());
    resolved = store->resolve(name);
  }
  if (!resolved) return fail(resolved.error());
  if (resolved->size() > 1) {
    return fail(Error(errc::invalid_argument,
                      fmt::format("{} is a group: open one of its members, {} to {}", name,
                                  resolved->front(), resolved->back()))
                    .path(store->directory().path()));
  }
  auto directory = files->root.open_directory(file_name::kConsumers);
  if (!directory) return fail(directory.error());
  auto impl = std::make_unique<Impl>(std::move(*files), std::move(*directory), std::move(*reader));
  if (auto opened = impl->open(std::string(name), options, at); !opened)
    return fail(opened.error());
  return Consumer(std::move(impl));
}

}  // namespace tailrace
