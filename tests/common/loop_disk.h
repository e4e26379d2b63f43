#pragma once

#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/statvfs.h>

#include <chrono>
#include <thread>

#include "common/damage.h"

/// File systems of a test's own, whose power can be cut and whose disk can fail.
namespace tailrace::test {

/// From here on what this program mounts is seen by it and its children only, and goes when the
/// last of them ends, however it ends. Returns whether that is allowed here (it takes root).
inline bool mount_privately() {
  static const bool allowed = ::geteuid() == 0 && ::unshare(CLONE_NEWNS) == 0 &&
                              ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
  return allowed;
}

/// An ext4 in a file behind a loop device. The file has no name any more: it goes with the device,
/// which goes with the last mount and descriptor. Empty (!made()) where that cannot be had: why()
/// says so.
class LoopDisk {
 public:
  /// The image lies in `directory` and needs as much of its room as is ever written.
  explicit LoopDisk(std::uint64_t size_bytes, const std::filesystem::path& directory) {
    if (!mount_privately()) {
      why_ = "mounting takes root";
      return;
    }
    const auto image = directory / "image";
    write_bytes(image, "");
    std::filesystem::resize_file(image, size_bytes);
    const std::string make = "mkfs.ext4 -q -F " + image.string() + " >/dev/null 2>&1";
    if (std::system(make.c_str()) != 0) {
      why_ = "mkfs.ext4 failed";
      return;
    }
    const int backing = ::open(image.c_str(), O_RDWR | O_CLOEXEC);
    std::filesystem::remove(image);
    attach(backing);
    ::close(backing);
  }
  ~LoopDisk() {
    if (mounted_ && ::umount(path().c_str()) != 0) ::umount2(path().c_str(), MNT_DETACH);
    if (device_ >= 0) ::close(device_);
  }
  LoopDisk(const LoopDisk&) = delete;
  LoopDisk& operator=(const LoopDisk&) = delete;

  [[nodiscard]] bool made() const { return device_ >= 0; }
  [[nodiscard]] const std::string& why() const { return why_; }
  [[nodiscard]] std::filesystem::path path() const { return dir_.path(); }

  bool mount() {
    mounted_ = ::mount(name_.c_str(), path().c_str(), "ext4", 0, nullptr) == 0;
    return mounted_;
  }

  /// Nothing of it is in any cache afterwards. Waits a while for the last I/O of dead processes.
  bool unmount() {
    for (int i = 0; mounted_ && i < 5'000; ++i) {
      if (::umount(path().c_str()) == 0) {
        mounted_ = false;
      } else {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    }
    return !mounted_;
  }

  /// What a power cut does: from now on nothing reaches the disk, and the file system's journal is
  /// not flushed.
  [[nodiscard]] bool cut_power() const {
    constexpr unsigned long kShutdown = _IOR('X', 125, std::uint32_t);  // FS_IOC_SHUTDOWN
    std::uint32_t no_log_flush = 2;
    const int fd = ::open(path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const bool done = ::ioctl(fd, kShutdown, &no_log_flush) == 0;
    ::close(fd);
    return done;
  }

 private:
  void attach(int backing) {
    const int control = ::open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    for (int i = 0; control >= 0 && device_ < 0 && i < 100; ++i) {  // others take them as well
      const int number = ::ioctl(control, LOOP_CTL_GET_FREE);
      if (number < 0) break;
      name_ = "/dev/loop" + std::to_string(number);
      const int device = ::open(name_.c_str(), O_RDWR | O_CLOEXEC);
      if (device < 0) break;
      loop_config config{};
      config.fd = static_cast<std::uint32_t>(backing);
      config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
      if (::ioctl(device, LOOP_CONFIGURE, &config) == 0) {
        device_ = device;
      } else {
        ::close(device);
      }
    }
    ::close(control);
    if (device_ < 0) why_ = "no loop device is to be had";
  }

  TempDir dir_;  // where it is mounted
  std::string name_;
  std::string why_;
  int device_ = -1;
  bool mounted_ = false;
};

}  // namespace tailrace::test
