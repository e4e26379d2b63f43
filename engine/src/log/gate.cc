#include "log/gate.h"

#include <fmt/format.h>

#include "base/planted.h"

namespace tailrace {
namespace {

Error lost(const ConsumerStore* store, const std::string& name, const char* how) {
  Error error(errc::gate_lost, fmt::format("the gate {} {}", name, how));
  if (store != nullptr) error.path(store->directory().path_of(ConsumerStore::file_of(name)));
  return error.next("remove this consumer, and make it anew behind the gates that there are");
}

}  // namespace

Result<Gate> Gate::open(const ConsumerStore& store, const GateName& name) {
  auto file = StoredConsumer::open(store, name.name);
  if (!file) {
    if (file.error().code() != errc::not_found) return fail(file.error());
    return fail(lost(&store, name.name, "was removed"));
  }
  if (file->identity().id != name.id && !planted(Mistake::gate_by_name)) {
    return fail(lost(&store, name.name, "was removed and made anew"));
  }
  Gate gate;
  gate.file_ = std::move(*file);
  return gate;
}

Result<void> Gate::look(GateKind kind) {
  auto progress = file_.read();
  // Asked afterwards: what was read then is what a consumer of this identity had committed.
  if (file_.removed() && !planted(Mistake::gate_removal_unnoticed)) {
    return fail(lost(nullptr, name(), "was removed").path(file_.path()));
  }
  if (!progress) return fail(progress.error());
  committed_ = progress->committed;
  durable_ = committed_;
  if (kind == GateKind::durable && !planted(Mistake::gate_not_asked_for_durable)) {
    durable_ = progress->durable.value_or(Stamp{});
  }
  return {};
}

bool Gate::lets_pass(const RecordView& record) const noexcept {
  // A record of an epoch above that of the gate's stamp came into the log after the gate's records
  // from there on had been cut off: the gate never saw it. See Stamp.
  const auto behind = [&record](const Stamp& stamp) {
    return record.sequence <= stamp.sequence &&
           (record.epoch <= stamp.epoch || planted(Mistake::gate_epoch_ignored));
  };
  return behind(committed_) && behind(durable_);
}

}  // namespace tailrace
