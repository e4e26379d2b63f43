#include "log/control_file.h"

#include <fcntl.h>

#include <array>

#include "base/clock.h"
#include "base/planted.h"
#include "file/process.h"

namespace tailrace {

Result<ControlFile> ControlFile::open(const LogFiles& files, Access access) {
  const std::string path = files.root.path_of(file_name::kControl);
  const int flags = access == Access::write ? O_RDWR : Mapping::read_flags();
  auto file = files.open_owned(files.root, file_name::kControl, flags);
  if (!file) return fail(file.error());
  auto mapping = Mapping::map(file->get(), kControlBytes, access, path);
  if (!mapping) return fail(mapping.error());
  if (auto right = check_control(mapping->data(), files.meta, path); !right) {
    return fail(right.error());
  }
  ControlFile control;
  control.mapping_ = std::move(*mapping);
  return control;
}

Result<ControlFile> ControlFile::open_or_remake(const LogFiles& files) {
  auto control = open(files, Access::write);
  if (control) return control;
  const errc code = control.error().code();
  if (code != errc::not_found && code != errc::not_a_log) return control;
  std::array<std::byte, kControlBytes> page{};
  init_control(page.data(), files.meta);
  if (auto done = write_file(files.root, file_name::kControl, page.data(), page.size(), 0640);
      !done) {
    return fail(done.error());
  }
  if (auto done = files.root.sync(); !done) return fail(done.error());
  return open(files, Access::write);
}

void ControlFile::flush() const noexcept { mapping_.flush(); }

Result<void> ControlFile::sync(const LogFiles& files) const {
  return mapping_.sync(0, mapping_.size(), files.root.path_of(file_name::kControl));
}

bool ControlFile::of_this_boot() const noexcept {
  return view().writer().boot_id == this_boot() || planted(Mistake::another_boot_trusted);
}

bool ControlFile::writer_alive() const {
  if (view().state() != ControlState::running || !of_this_boot()) return false;
  const ControlView::Writer writer = view().writer();
  return process_start_time(writer.pid) == writer.pid_start_time;
}

bool ControlFile::live() const noexcept {
  const ControlView control = view();
  return control.state() == ControlState::running && of_this_boot() &&
         (control.generation() & 1) == 0 &&
         Clock::boottime_ns() - control.heartbeat_ns() < kHeartbeatLimitNs;
}

WriterState writer_state(const ControlFile& control) {
  if (control.view().state() != ControlState::running || !control.of_this_boot()) {
    return WriterState::none;
  }
  if (!control.writer_alive()) return WriterState::crashed;
  return control.live() ? WriterState::running : WriterState::stalled;
}

}  // namespace tailrace
