#include "log/repair_keys.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "log/control_file.h"
#include "log/journal_file.h"
#include "log/key_fold.h"
#include "log/recovery.h"
#include "log/writer_lock.h"

namespace tailrace {
namespace {

/// The base, whole: every block of it.
Result<StoredKeys> open_whole_base(const LogFiles& files, Position first) {
  auto base = StoredKeys::open_base(files, first);
  if (!base) return base;
  if (auto whole = base->view.check(); !whole) return fail(std::move(whole.error()));
  return base;
}

std::optional<StoredKeys> open_whole_checkpoint(const LogFiles& files, Position first) {
  auto checkpoint = StoredKeys::open_checkpoint(files, first);
  const bool whole = checkpoint && checkpoint->view.check();
  return whole ? std::move(checkpoint) : std::nullopt;
}

/// Under a second name that is free, so that nothing is lost by a repair that dies half-way.
Result<void> keep_aside(const LogFiles& files, const Directory& keys) {
  if (!keys.exists(file_name::kKeysBase)) return {};
  auto salvage = open_salvage(files);
  if (!salvage) return fail(std::move(salvage.error()));
  std::string aside;
  for (unsigned i = 1; aside.empty() || salvage->exists(aside); ++i) {
    aside = fmt::format("keys-base-{}", i);
  }
  if (::linkat(keys.fd(), file_name::kKeysBase, salvage->fd(), aside.c_str(), 0) != 0) {
    return fail(sys_error("cannot keep keys aside", keys.path_of(file_name::kKeysBase), errno));
  }
  return salvage->sync();
}

}  // namespace

Result<void> examine_keys(const LogFiles& files, Position first, RepairPlan& plan) {
  if (first == 0) return {};
  auto base = open_whole_base(files, first);
  if (base && !base->view.incomplete()) return {};
  const bool known =
      base || base.error().code() == errc::corrupt || base.error().code() == errc::keys_incomplete;
  if (!known) return fail(std::move(base.error()));
  plan.keys_detail = base ? "what an earlier base knew of keys is lost" : base.error().what();
  plan.keys = open_whole_checkpoint(files, first) ? KeysDamage::recoverable : KeysDamage::lost;
  return {};
}

Result<void> repair_keys(const std::filesystem::path& path) {
  auto files = LogFiles::open(path);
  if (!files) return fail(std::move(files.error()));
  auto lock = take_writer_lock(*files, std::chrono::milliseconds(0));
  if (!lock) return fail(std::move(lock.error()));
  auto control = ControlFile::open(*files, Access::read);
  if (!control) return fail(std::move(control.error()));
  const Position first = control->view().first_retained();
  RepairPlan plan;
  if (auto done = examine_keys(*files, first, plan); !done) return done;
  if (plan.keys == KeysDamage::none) return {};
  std::optional<StoredKeys> known = open_whole_checkpoint(*files, first);
  if (!known) {
    if (auto base = open_whole_base(*files, first)) known = std::move(*base);
  }
  auto keys = open_keys(files->root);
  if (!keys) return fail(std::move(keys.error()));
  if (auto done = keep_aside(*files, *keys); !done) return done;
  KeyFold::Options options;
  options.forget = true;
  const Position covers = known ? known->view.covers() : first;
  return KeyFold(*files, *keys, options).run(std::move(known), first, covers, file_name::kKeysBase);
}

}  // namespace tailrace
