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

/// An ext4 in a file behind a loop device. The file has no name any more: it goes with its last
/// descriptor. Empty (!made()) where that cannot be had: why() says so.
class LoopDisk {
 public:
  /// The image is sparse, and needs as much room in `directory` as is ever written. The file
  /// system's own journal and tables lie at its beginning.
  LoopDisk(std::uint64_t size_bytes, const std::filesystem::path& directory) {
    if (!mount_privately()) {
      why_ = "mounting takes root";
      return;
    }
    const auto image = directory / "image";
    write_bytes(image, "");
    std::filesystem::resize_file(image, size_bytes);
    const std::string make =
        "mkfs.ext4 -q -F -J size=4,location=2M " + image.string() + " >/dev/null 2>&1";
    if (std::system(make.c_str()) == 0) {
      backing_ = ::open(image.c_str(), O_RDWR | O_CLOEXEC);
    } else {
      why_ = "mkfs.ext4 failed";
    }
    std::filesystem::remove(image);
    if (made() && !mount()) {
      why_ = "no loop device is to be had, or no ext4";
      ::close(std::exchange(backing_, -1));
    }
  }
  ~LoopDisk() {
    if (mounted_ && ::umount(path().c_str()) != 0) ::umount2(path().c_str(), MNT_DETACH);
    if (backing_ >= 0) ::close(backing_);
  }
  LoopDisk(const LoopDisk&) = delete;
  LoopDisk& operator=(const LoopDisk&) = delete;

  [[nodiscard]] bool made() const { return backing_ >= 0; }
  [[nodiscard]] const std::string& why() const { return why_; }
  [[nodiscard]] std::filesystem::path path() const { return dir_.path(); }

  /// On a device of its own, which goes with the mount: nothing of an earlier one is in its cache.
  bool mount() {
    const int device = attach();
    if (device < 0) return false;
    mounted_ = ::mount(name_.c_str(), path().c_str(), "ext4", 0, nullptr) == 0;
    const int error = errno;
    ::close(device);
    errno = error;
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

  /// From this byte on the device fails every read and write (with EIO); 0: it is well again.
  [[nodiscard]] bool fail_from(std::uint64_t offset) const {
    const int device = ::open(name_.c_str(), O_RDWR | O_CLOEXEC);
    loop_info64 info{};
    bool done = ::ioctl(device, LOOP_GET_STATUS64, &info) == 0;
    info.lo_sizelimit = offset;
    done = done && ::ioctl(device, LOOP_SET_STATUS64, &info) == 0;
    ::close(device);
    return done;
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
  [[nodiscard]] int attach() {
    const int control = ::open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    int attached = -1;
    for (int i = 0; control >= 0 && attached < 0 && i < 100; ++i) {  // others take them as well
      const int number = ::ioctl(control, LOOP_CTL_GET_FREE);
      if (number < 0) break;
      name_ = "/dev/loop" + std::to_string(number);
      const int device = ::open(name_.c_str(), O_RDWR | O_CLOEXEC);
      if (device < 0) break;
      loop_config config{};
      config.fd = static_cast<std::uint32_t>(backing_);
      config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
      if (::ioctl(device, LOOP_CONFIGURE, &config) == 0) {
        attached = device;
      } else {
        ::close(device);
      }
    }
    ::close(control);
    return attached;
  }

  TempDir dir_;  // where it is mounted
  std::string name_;
  std::string why_;
  int backing_ = -1;
  bool mounted_ = false;
};

}  // namespace tailrace::test
