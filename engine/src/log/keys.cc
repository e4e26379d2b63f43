#include "tailrace/keys.h"

#include "log/known_keys.h"

namespace tailrace {

class Keys::Impl {
 public:
  Impl(LogFiles files, ControlFile control, Follow follow)
      : keys(std::move(files), std::move(control), follow, stop) {}

  std::atomic<bool> stop{false};
  KnownKeys keys;
};

Keys::Keys(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Keys::Keys(Keys&&) noexcept = default;
Keys& Keys::operator=(Keys&&) noexcept = default;
Keys::~Keys() = default;

Result<Keys> Keys::open(const std::filesystem::path& path, const KeysOptions& options) {
  auto files = LogFiles::open(path);
  if (!files) return fail(std::move(files.error()));
  auto control = ControlFile::open(*files, Access::read);
  if (!control) return fail(std::move(control.error()));
  Keys keys(std::make_unique<Impl>(std::move(*files), std::move(*control), options.follow));
  static_cast<void>(keys.impl_->keys.choose_file());  // what is wrong is said by the first find
  return keys;
}

Result<std::optional<KeyState>> Keys::find(std::string_view key) { return impl_->keys.find(key); }
Result<void> Keys::for_each(std::string_view prefix, const Visit& visit) {
  return impl_->keys.for_each(prefix, visit);
}
Sequence Keys::as_of() const noexcept { return impl_->keys.as_of(); }
Position Keys::covers() const noexcept { return impl_->keys.covers(); }
std::uint64_t Keys::records_read() const noexcept { return impl_->keys.records_read(); }
void Keys::stop() noexcept { impl_->stop.store(true, std::memory_order_relaxed); }

}  // namespace tailrace
