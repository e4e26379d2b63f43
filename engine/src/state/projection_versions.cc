#include <fmt/format.h>

#include "log/consumer_store.h"
#include "state/alias_file.h"
#include "tailrace/projection.h"

namespace tailrace {
namespace {

Result<LogFiles> open_for_name(const std::filesystem::path& log, std::string_view name) {
  if (auto wrong = what_is_wrong_with_projection(name)) {
    return fail(Error(errc::invalid_argument, std::move(*wrong)));
  }
  return LogFiles::open(log);
}

}  // namespace

Result<CurrentVersion> current_version(const std::filesystem::path& log, std::string_view name) {
  const auto files = open_for_name(log, name);
  if (!files) return fail(files.error());
  const auto current = read_alias(*files, name, AliasRole::current);
  if (!current) return fail(current.error());
  const auto wanted = read_alias(*files, name, AliasRole::wanted);
  if (!wanted) return fail(wanted.error());
  CurrentVersion says;
  if (*current) says.current = (*current)->version;
  if (*current) says.highest = (*current)->highest;
  if (*wanted) says.wanted = (*wanted)->version;
  return says;
}

Result<void> set_current_version(const std::filesystem::path& log, std::string_view name,
                                 std::uint32_t version) {
  const auto files = open_for_name(log, name);
  if (!files) return fail(files.error());
  const std::string own = version_name(name, version);
  const auto store = ConsumerStore::open(*files);
  const bool there = version != 0 && store && store->has(own);
  if (!there && (store || store.error().code() == errc::not_found)) {
    return fail(Error(errc::not_found, fmt::format("{} has no version {}", name, version))
                    .path(files->root.path())
                    .next("start that version first: it is built beside the one that runs"));
  }
  if (!store) return fail(store.error());
  return write_alias(*files, name, AliasRole::wanted, {version, 0});
}

}  // namespace tailrace
