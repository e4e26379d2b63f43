#include <fmt/format.h>
#include <sys/stat.h>

#include <optional>
#include <thread>

#include "base/clock.h"
#include "base/planted.h"
#include "log/fork_guard.h"
#include "log/stamp_place.h"
#include "state/snapshot_child.h"
#include "state/snapshot_impl.h"
#include "state/snapshot_set.h"

namespace tailrace {
namespace {

/// Streamed pieces are put together to that much: few system calls, and still in the cache when
/// they are hashed.
constexpr std::size_t kStreamBufferBytes = std::size_t{1} << 20;
/// How often to look whether a record has become durable: nobody waits for a snapshot.
constexpr auto kDurableNap = std::chrono::milliseconds(1);

/// The writer that is forking its own child in this thread.
thread_local const void* forking_writer = nullptr;

Error invalid_snapshot(std::string why) { return {errc::invalid_argument, std::move(why)}; }

}  // namespace

/// A snapshot in the making: a file beside those that count, under this process's lock.
///
/// Invariants:
///  1. The file has its own name only until it is renamed, and by then all of it is durable and so
///     is its record.
///  2. Once something has failed, nothing else is answered.
class SnapshotWriter::Impl final : public ForkGuard {
 public:
  Impl(LogFiles files, SnapshotDirectory directory, SnapshotDirectory::Beside beside,
       SnapshotContent content) noexcept
      : files_(std::move(files)),
        directory_(std::move(directory)),
        beside_(std::move(beside)),
        path_(directory_.files().path_of(beside_.name)),
        content_(std::move(content)) {}
  ~Impl() override {
    child_.reset();
    if (step_ != Step::published) static_cast<void>(directory_.files().remove(beside_.name));
  }

  Result<void> write(Bytes bytes);
  Result<std::span<std::byte>> map(std::uint64_t size_bytes);
  Result<void> write_in_child(Bytes body);
  [[nodiscard]] bool child_at_work() noexcept { return child_ && child_->at_work(); }
  Result<SnapshotInfo> publish(const PublishOptions& options);

  void forked() noexcept override {
    if (forking_writer == this) return;  // the child that writes the body
    forked_ = true;
    beside_.file.reset();  // and with it the lock
    mapping_.forget();
  }
  [[nodiscard]] bool is_forked() const noexcept { return forked_; }

 private:
  enum class Way : std::uint8_t { none, streamed, mapped, child };
  enum class Step : std::uint8_t { filling, sealed, published };

  [[nodiscard]] Result<void> begin(Way way);
  [[nodiscard]] Result<void> flush();
  [[nodiscard]] Result<BodyDigestBytes> finish_body();
  [[nodiscard]] Result<void> seal();
  [[nodiscard]] Result<void> wait_durable(Reader& reader, std::chrono::nanoseconds timeout) const;
  [[nodiscard]] Result<void> show();
  /// Remembers what has failed.
  template <class T>
  [[nodiscard]] Result<T> noted(Result<T> result) {
    if (!result) failed_ = result.error();
    return result;
  }

  LogFiles files_;
  SnapshotDirectory directory_;
  SnapshotDirectory::Beside beside_;
  std::string path_;
  SnapshotContent content_;

  Way way_ = Way::none;
  Step step_ = Step::filling;
  std::optional<Error> failed_;
  bool forked_ = false;

  std::vector<std::byte> buffer_;  // streamed: hashed and written when it is full
  BodyDigest digest_;
  Mapping mapping_;  // mapped: the whole file
  std::optional<SnapshotChild> child_;
};

/// Whether more of the body may come this way.
Result<void> SnapshotWriter::Impl::begin(Way way) {
  if (forked_) {
    return fail(Error(errc::forked, "this snapshot is being written by the parent process"));
  }
  if (failed_) return fail(*failed_);
  if (step_ != Step::filling) return fail(invalid_snapshot("the snapshot's body is complete"));
  if (way_ != Way::none && (way_ != way || way != Way::streamed)) {
    return fail(invalid_snapshot("a snapshot's body comes in one way, and mapped or forked once"));
  }
  way_ = way;
  return {};
}

Result<void> SnapshotWriter::Impl::write(Bytes bytes) {
  if (auto begun = begin(Way::streamed); !begun) return begun;
  if (buffer_.capacity() == 0) buffer_.reserve(kStreamBufferBytes);
  while (!bytes.empty()) {
    const std::size_t step = std::min(bytes.size(), kStreamBufferBytes - buffer_.size());
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(step));
    bytes = bytes.subspan(step);
    if (buffer_.size() < kStreamBufferBytes) continue;
    if (auto done = noted(flush()); !done) return done;
  }
  return {};
}

Result<void> SnapshotWriter::Impl::flush() {
  digest_.add(buffer_.data(), buffer_.size());
  auto done = write_all(beside_.file.get(), buffer_.data(), buffer_.size(),
                        kSnapshotHeaderBytes + content_.body_size_bytes, path_);
  content_.body_size_bytes += buffer_.size();
  buffer_.clear();
  return done;
}

Result<std::span<std::byte>> SnapshotWriter::Impl::map(std::uint64_t size_bytes) {
  if (size_bytes > kMaxSnapshotBodyBytes) {
    return fail(invalid_snapshot(fmt::format("a body of {} bytes: at most {} are possible",
                                             size_bytes, kMaxSnapshotBodyBytes)));
  }
  if (auto begun = begin(Way::mapped); !begun) return fail(begun.error());
  const std::uint64_t file_bytes = kSnapshotHeaderBytes + size_bytes;
  // A store into a hole for which the disk has no room would be a SIGBUS.
  if (auto done = noted(reserve(beside_.file.get(), file_bytes, path_)); !done) {
    return fail(done.error());
  }
  auto mapping = noted(Mapping::map(beside_.file.get(), file_bytes, Access::write, path_));
  if (!mapping) return fail(mapping.error());
  mapping_ = std::move(*mapping);
  content_.body_size_bytes = size_bytes;
  return std::span(mapping_.data() + kSnapshotHeaderBytes, size_bytes);
}

Result<void> SnapshotWriter::Impl::write_in_child(Bytes body) {
  if (auto begun = begin(Way::child); !begun) return begun;
  forking_writer = this;
  auto child = noted(SnapshotChild::start(beside_.file.get(), body, path_));
  forking_writer = nullptr;
  if (!child) return fail(child.error());
  child_.emplace(std::move(*child));
  content_.body_size_bytes = body.size();
  return {};
}

Result<BodyDigestBytes> SnapshotWriter::Impl::finish_body() {
  switch (way_) {
    case Way::child: return child_->wait();
    case Way::mapped: {
      BodyDigest digest;
      digest.add(mapping_.data() + kSnapshotHeaderBytes, content_.body_size_bytes);
      mapping_ = Mapping();
      return digest.end();
    }
    default: break;
  }
  if (auto done = flush(); !done) return fail(done.error());
  buffer_ = {};
  return digest_.end();
}

/// The file becomes whole and durable.
Result<void> SnapshotWriter::Impl::seal() {
  auto digest = finish_body();
  if (!digest) return fail(digest.error());
  content_.body_digest = *digest;
  content_.created_ns = Clock::kernel_ns();
  const SnapshotHeader header = make_snapshot_header(content_, files_.meta);
  if (auto done = write_all(beside_.file.get(), &header, sizeof header, 0, path_); !done) {
    return done;
  }
  if (!planted(Mistake::snapshot_not_synced)) {
    if (auto done = sync_file(beside_.file.get(), path_); !done) return done;
  }
  step_ = Step::sealed;
  return {};
}

/// Waits until the record that the snapshot speaks of is durable, and in the log.
Result<void> SnapshotWriter::Impl::wait_durable(Reader& reader,
                                                std::chrono::nanoseconds timeout) const {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  const ControlFile& control = ReaderAccess::impl(reader).control();
  std::optional<std::uint64_t> checked_under;  // a recovery may cut off what is not durable
  for (;;) {
    const std::uint64_t generation = control.view().generation();
    const bool durable =
        planted(Mistake::snapshot_ahead_of_durable) ||
        (control.of_this_boot() && control.view().durable() >= end_of(content_.stamp));
    if (durable || checked_under != generation) {
      auto place = place_behind(reader, content_.stamp);
      if (!place) {
        Error error = place.error();
        if (error.code() == errc::diverged) error.next("build the state anew");
        return fail(std::move(error));
      }
      if (durable && *place) return {};
      checked_under = generation;
    }
    if (std::chrono::steady_clock::now() >= deadline) {
      return fail(Error(errc::timed_out, fmt::format("record {}, the snapshot's last, has not "
                                                     "become durable in time",
                                                     content_.stamp.sequence))
                      .path(path_)
                      .sequence(content_.stamp.sequence));
    }
    std::this_thread::sleep_for(kDurableNap);
  }
}

/// The file becomes one of those that count.
Result<void> SnapshotWriter::Impl::show() {
  const Directory& directory = directory_.files();
  constexpr mode_t kMode = 0640;
  if (::fchmod(beside_.file.get(), kMode) != 0) {
    return fail(sys_error("cannot set the mode", path_, errno));
  }
  auto renamed =
      directory.rename(beside_.name, SnapshotDirectory::file_of(content_.stamp.sequence));
  if (!renamed) return renamed;
  step_ = Step::published;
  beside_.file.reset();
  return directory.sync();
}

Result<SnapshotInfo> SnapshotWriter::Impl::publish(const PublishOptions& options) {
  if (forked_) {
    return fail(Error(errc::forked, "this snapshot is being written by the parent process"));
  }
  if (failed_) return fail(*failed_);
  if (step_ == Step::published) return fail(invalid_snapshot("the snapshot is published already"));
  if (step_ == Step::filling) {
    if (auto done = noted(seal()); !done) return fail(done.error());
  }
  auto reader = Reader::open(files_.root.path());
  if (!reader) return fail(reader.error());
  if (auto durable = wait_durable(*reader, options.timeout); !durable) {
    return fail(durable.error());
  }
  if (auto done = noted(show()); !done) return fail(done.error());
  if (options.keep > 0) {
    // It is there: what could not be removed now is removed by the next one.
    static_cast<void>(prune(files_, directory_, *reader, options.keep));
  }
  SnapshotInfo info;
  info.name = content_.name;
  info.path = directory_.path_in_log(content_.stamp.sequence);
  info.stamp = content_.stamp;
  info.schema = content_.schema;
  info.body_size_bytes = content_.body_size_bytes;
  info.created_ns = content_.created_ns;
  return info;
}

Result<SnapshotWriter> SnapshotWriter::create(const std::filesystem::path& log,
                                              std::string_view name, std::string_view schema,
                                              const Stamp& stamp) {
  if (auto wrong = what_is_wrong_with_state_name(name)) {
    return fail(invalid_snapshot(std::move(*wrong)));
  }
  if (schema.size() > kMaxSchemaBytes) {
    return fail(invalid_snapshot(fmt::format("a schema of {} bytes: at most {} are possible",
                                             schema.size(), kMaxSchemaBytes)));
  }
  auto files = LogFiles::open(log);
  if (!files) return fail(files.error());
  if (stamp.log_id != log_id(files->meta)) {
    return fail(invalid_snapshot("the stamp is of another log").path(files->root.path()));
  }
  auto store = SnapshotStore::open_or_make(*files);
  if (!store) return fail(store.error());
  auto directory = store->directory_or_make(std::string(name));
  if (!directory) return fail(directory.error());
  if (auto done = directory->remove_left_overs(); !done) return fail(done.error());
  auto beside = directory->make_beside();
  if (!beside) return fail(beside.error());
  SnapshotContent content;
  content.name = name;
  content.schema = schema;
  content.stamp = stamp;
  return SnapshotWriter(std::make_unique<Impl>(std::move(*files), std::move(*directory),
                                               std::move(*beside), std::move(content)));
}

SnapshotWriter::SnapshotWriter(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
SnapshotWriter::SnapshotWriter(SnapshotWriter&&) noexcept = default;
SnapshotWriter& SnapshotWriter::operator=(SnapshotWriter&& other) noexcept {
  if (this != &other) {
    SnapshotWriter gone(std::move(*this));
    impl_ = std::move(other.impl_);
  }
  return *this;
}
SnapshotWriter::~SnapshotWriter() {
  // The parent's file and child are none of this process's.
  if (impl_ && impl_->is_forked()) static_cast<void>(impl_.release());
}

Result<void> SnapshotWriter::write(Bytes bytes) { return impl_->write(bytes); }
Result<std::span<std::byte>> SnapshotWriter::map(std::uint64_t size_bytes) {
  return impl_->map(size_bytes);
}
Result<void> SnapshotWriter::write_in_child(Bytes body) { return impl_->write_in_child(body); }
bool SnapshotWriter::child_at_work() noexcept { return impl_->child_at_work(); }
Result<SnapshotInfo> SnapshotWriter::publish(const PublishOptions& options) {
  return impl_->publish(options);
}

}  // namespace tailrace
