#include "state/opened_state.h"

#include "state/snapshot_impl.h"

namespace tailrace {

Result<OpenedState> OpenedState::open(const std::filesystem::path& log, std::string_view name) {
  if (auto wrong = what_is_wrong_with_state_name(name)) {
    return fail(Error(errc::invalid_argument, std::move(*wrong)));
  }
  auto files = LogFiles::open(log);
  if (!files) return fail(files.error());
  auto reader = Reader::open(log);
  if (!reader) return fail(reader.error());
  auto store = SnapshotStore::open(*files);
  const auto none = [&](const Error& why) {
    return fail(why.code() == errc::not_found ? no_such_snapshot(*files, name, {}) : why);
  };
  if (!store) return none(store.error());
  auto resolved = store->resolve(name);
  if (!resolved) return fail(resolved.error());
  auto directory = store->directory(*resolved);
  if (!directory) return none(directory.error());
  return OpenedState{std::make_unique<LogFiles>(std::move(*files)), std::move(*reader),
                     std::move(*directory)};
}

}  // namespace tailrace
