#include "doctor/block_device.h"

#include <fmt/format.h>

#include <charconv>
#include <filesystem>

#include "doctor/text_file.h"

namespace tailrace::doctor {
namespace {

namespace fs = std::filesystem;

std::optional<bool> read_flag(const fs::path& path) {
  const auto text = read_text(path);
  if (text == "0") return false;
  if (text == "1") return true;
  return std::nullopt;
}

std::optional<std::uint64_t> read_number(const fs::path& path) {
  const auto text = read_text(path);
  std::uint64_t number = 0;
  if (!text) return std::nullopt;
  const char* const end = text->data() + text->size();
  if (std::from_chars(text->data(), end, number).ptr != end || text->empty()) return std::nullopt;
  return number;
}

/// A device of which something is to be known before anything is measured.
Finding kind(const BlockDevice& device) {
  Finding finding{"block_device", Level::ok, device.name, {}, {{"device", device.name}}};
  if (device.rotational) finding.values.emplace_back("rotational", *device.rotational);
  if (device.name.starts_with("ram") || device.name.starts_with("zram")) {
    finding.level = Level::warning;
    finding.found += " is memory: a reboot or power cut loses everything";
    finding.fix = "put the log on a file system of a real disk";
    finding.values.emplace_back("durable", "no");
  } else if (device.name.starts_with("loop")) {
    finding.level = Level::note;
    finding.found += fmt::format(" is a loop device over {}: slower, and as durable as that file",
                                 device.backing_file.value_or("a file"));
    finding.fix = fmt::format("put the log beside that file; or: losetup --direct-io=on /dev/{}",
                              device.name);
  } else if (device.name.starts_with("nbd") || device.name.starts_with("rbd") ||
             device.name.starts_with("drbd")) {
    finding.level = Level::note;
    finding.found += " lies behind a network: each commit waits for it";
    finding.fix = "put the log on a local disk";
  } else if (device.rotational == true) {
    finding.level = Level::note;
    finding.found +=
        " calls itself a rotating disk: a commit then takes some milliseconds "
        "(virtual disks often say so without being one; see durable_write_ns)";
    finding.fix =
        fmt::format("put the log on an SSD; if it is one: echo 0 > /sys/block/{}/queue/rotational",
                    device.name);
  }
  return finding;
}

Finding write_cache(const BlockDevice& device) {
  if (!device.write_cache) {
    return unknown("write_cache",
                   fmt::format("/sys says nothing about the cache of {}", device.name),
                   fmt::format("cat /sys/block/{}/queue/write_cache on the host", device.name));
  }
  Finding finding{"write_cache", Level::ok, {}, {}, {{"write_cache", *device.write_cache}}};
  if (*device.write_cache == "write back") {
    finding.found = fmt::format(
        "{} has a volatile write cache, and the kernel flushes it for each commit: durable as long "
        "as the device honours a flush",
        device.name);
  } else {
    finding.found = fmt::format(
        "{} is said to have no volatile write cache ({}), so the kernel sends no flushes: durable "
        "unless somebody wrote that into /sys/block/{}/queue/write_cache against the truth",
        device.name, *device.write_cache, device.name);
  }
  return finding;
}

Finding stable_writes(const BlockDevice& device) {
  if (!device.stable_writes) {
    return unknown("stable_writes", fmt::format("/sys does not say it of {}", device.name),
                   fmt::format("cat /sys/block/{}/queue/stable_writes on the host", device.name));
  }
  if (!*device.stable_writes) {
    return {"stable_writes",
            Level::ok,
            fmt::format("{} lets a page change while it is written", device.name),
            {},
            {{"stable_writes", false}}};
  }
  return {"stable_writes",
          Level::note,
          fmt::format("{} needs pages that do not change while they are written (checksums or "
                      "parity): now and then an append waits for a write-back",
                      device.name),
          "put the log on a device without parity (RAID 5, 6) and without checksums in the kernel "
          "(iSCSI data digest, T10 DIF); RAID 1 or 10 has no need of it",
          {{"stable_writes", true}}};
}

/// The kernel brings in so much around the first touch of a page, also of a segment that was never
/// written: zeros, in one go.
Finding read_ahead(const BlockDevice& device) {
  constexpr std::uint64_t kMostKib = 1024;
  if (!device.read_ahead_kib) {
    return unknown("read_ahead", fmt::format("/sys does not say it of {}", device.name),
                   fmt::format("cat /sys/block/{}/queue/read_ahead_kb on the host", device.name));
  }
  const std::uint64_t kib = *device.read_ahead_kib;
  Finding finding{"read_ahead",
                  Level::ok,
                  fmt::format("{} reads {} KiB ahead", device.name, kib),
                  {},
                  {{"read_ahead_bytes", kib * 1024}}};
  if (kib <= kMostKib) return finding;
  finding.level = Level::note;
  finding.found +=
      ": fresh pages of a segment then come in such pieces, which takes milliseconds during which "
      "a commit's end is not noticed";
  finding.fix = fmt::format("echo {} > /sys/block/{}/queue/read_ahead_kb", kMostKib, device.name);
  return finding;
}

}  // namespace

std::optional<BlockDevice> read_block_device(const std::string& sys, unsigned major,
                                             unsigned minor) {
  std::error_code error;
  fs::path path = fs::canonical(fmt::format("{}/dev/block/{}:{}", sys, major, minor), error);
  if (error) return std::nullopt;
  if (fs::exists(path / "partition", error)) path = path.parent_path();
  BlockDevice device;
  device.name = path.filename();
  device.write_cache = read_text(path / "queue/write_cache");
  device.stable_writes = read_flag(path / "queue/stable_writes");
  device.rotational = read_flag(path / "queue/rotational");
  device.read_ahead_kib = read_number(path / "queue/read_ahead_kb");
  device.backing_file = read_text(path / "loop/backing_file");
  return device;
}

std::vector<Finding> judge_block_device(const BlockDevice& device) {
  return {kind(device), write_cache(device), stable_writes(device), read_ahead(device)};
}

}  // namespace tailrace::doctor
