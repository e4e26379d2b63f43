#include "format/control.h"

#include <fmt/format.h>

#include <cstring>

namespace tailrace {

void init_control(std::byte* page, const LogMeta& meta) noexcept {
  Control control{};
  control.magic = kControlMagic;
  control.version = kControlVersion;
  control.size_bytes = kControlBytes;
  std::memcpy(control.log_id, meta.log_id, sizeof control.log_id);
  std::memcpy(page, &control, sizeof control);
}

Result<void> check_control(const std::byte* page, const LogMeta& meta, const std::string& path) {
  const Control& control = *reinterpret_cast<const Control*>(page);
  if (control.magic != kControlMagic || control.size_bytes != kControlBytes ||
      std::memcmp(control.log_id, meta.log_id, sizeof control.log_id) != 0) {
    return fail(Error(errc::not_a_log, "not this log's control file").path(path));
  }
  if (control.version != kControlVersion) {
    return fail(Error(errc::unsupported_version,
                      fmt::format("shared state of version {}, but this Tailrace knows only {}",
                                  control.version, kControlVersion))
                    .path(path)
                    .next("use the Tailrace that the log's writer uses"));
  }
  return {};
}

}  // namespace tailrace
