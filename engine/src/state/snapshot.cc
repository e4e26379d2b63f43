#include "tailrace/snapshot.h"

#include <fmt/format.h>

#include <optional>

#include "base/planted.h"
#include "state/opened_state.h"
#include "state/snapshot_impl.h"

namespace tailrace {
namespace {

using SnapshotImpl = SnapshotAccess::Impl;

struct Wanted {
  std::string_view schema;
  SnapshotOptions options;
};

Result<void> check_schema(const StoredSnapshot& stored, std::string_view schema) {
  if (stored.content.schema == schema || planted(Mistake::schema_not_compared)) return {};
  return fail(Error(errc::unsupported_version,
                    fmt::format("the snapshot has another schema, '{}' instead of '{}'",
                                stored.content.schema, schema))
                  .path(stored.path)
                  .sequence(stored.content.stamp.sequence));
}

/// A search for a state's newest snapshot that can be used.
class Search {
 public:
  Search(const LogFiles& files, Reader& reader, const Wanted& wanted) noexcept
      : files_(files), reader_(reader), wanted_(wanted) {}

  /// Errors: those that say nothing about the snapshots. Nothing: none can be used.
  Result<std::unique_ptr<SnapshotImpl>> find(const SnapshotDirectory& directory) {
    for (;;) {
      passed_over.clear();
      auto sequences = directory.sequences();
      if (!sequences) return fail(sequences.error());
      bool vanished = false;
      for (const Sequence sequence : *sequences) {
        if (sequence > wanted_.options.at_most) continue;
        auto opened = open(directory, sequence);
        if (opened) return opened;
        if (is_shortage(opened.error())) return opened;
        if (opened.error().code() == errc::not_found) {
          vanished = true;
        } else {
          passed_over.push_back(opened.error());
        }
      }
      // What was removed meanwhile was removed because there are newer ones.
      if (!vanished) return std::unique_ptr<SnapshotImpl>();
    }
  }

  std::vector<Error> passed_over;

 private:
  Result<std::unique_ptr<SnapshotImpl>> open(const SnapshotDirectory& directory,
                                             Sequence sequence) {
    auto stored = StoredSnapshot::open(files_, directory, sequence);
    if (!stored) return fail(stored.error());
    if (auto same = check_schema(*stored, wanted_.schema); !same) return fail(same.error());
    if (auto trouble = trouble_with_stamp(reader_, stored->content.stamp, stored->path)) {
      return fail(std::move(*trouble));
    }
    auto mapping = map_snapshot(*stored);
    if (!mapping) return fail(mapping.error());
    SnapshotInfo info = info_of(*stored, directory);
    auto impl =
        std::make_unique<SnapshotImpl>(std::move(*stored), std::move(*mapping), std::move(info));
    if (auto right = impl->verify(wanted_.options.verify); !right) return fail(right.error());
    return impl;
  }

  const LogFiles& files_;
  Reader& reader_;
  const Wanted& wanted_;
};

}  // namespace

SnapshotInfo info_of(const StoredSnapshot& stored, const SnapshotDirectory& directory) {
  SnapshotInfo info;
  info.name = stored.content.name;
  info.path = directory.path_in_log(stored.content.stamp.sequence);
  info.stamp = stored.content.stamp;
  info.schema = stored.content.schema;
  info.body_size_bytes = stored.content.body_size_bytes;
  info.created_ns = stored.content.created_ns;
  return info;
}

Result<void> Snapshot::Impl::verify(Verify how) {
  if (how == Verify::trusted) return {};
  if (how == Verify::beside) {
    auto started = BodyCheck::start(stored_);
    if (started) {
      check_ = std::move(*started);
      return {};
    }
  }  // without a thread it is done at once
  auto right = check_body(stored_);
  if (!right) return fail(right.error());
  verified_ = true;
  return {};
}

Result<Snapshot> Snapshot::open_latest(const std::filesystem::path& log, std::string_view name,
                                       std::string_view schema, const SnapshotOptions& options) {
  if (schema.size() > kMaxSchemaBytes) {
    return fail(
        Error(errc::invalid_argument, fmt::format("a schema of {} bytes: at most {} are possible",
                                                  schema.size(), kMaxSchemaBytes)));
  }
  auto state = OpenedState::open(log, name);
  if (!state) return fail(state.error());
  const Wanted wanted{schema, options};
  Search search(*state->files, state->reader, wanted);
  auto found = search.find(state->directory);
  if (!found) return fail(found.error());
  if (!*found) {
    std::string why;
    for (const Error& error : search.passed_over) {
      why += why.empty() ? "" : "; ";
      why += error.message();
    }
    return fail(no_such_snapshot(*state->files, name, why));
  }
  (*found)->passed_over = std::move(search.passed_over);
  return Snapshot(std::move(*found));
}

Snapshot::Snapshot(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Snapshot::Snapshot(Snapshot&&) noexcept = default;
Snapshot& Snapshot::operator=(Snapshot&&) noexcept = default;
Snapshot::~Snapshot() = default;

const SnapshotInfo& Snapshot::info() const noexcept { return impl_->info(); }
Bytes Snapshot::body() const noexcept { return impl_->body(); }
const std::vector<Error>& Snapshot::passed_over() const noexcept { return impl_->passed_over; }
Result<bool> Snapshot::verified() const { return impl_->verified(); }

}  // namespace tailrace
