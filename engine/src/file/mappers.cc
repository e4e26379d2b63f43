#include "file/mappers.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace tailrace {
namespace {

constexpr std::string_view kDeleted = " (deleted)";

/// Whether a line of /proc/PID/maps is about such a file.
bool is_about(std::string_view line, std::string_view folder,
              const std::function<bool(std::string_view)>& wanted) {
  const std::size_t path = line.find('/');
  if (path == std::string_view::npos) return false;
  line.remove_prefix(path);
  if (line.ends_with(kDeleted)) line.remove_suffix(kDeleted.size());
  if (line.size() <= folder.size() || !line.starts_with(folder)) return false;
  line.remove_prefix(folder.size());
  return wanted(line);
}

}  // namespace

std::vector<std::int64_t> processes_mapping(
    int directory_fd, const std::function<bool(std::string_view name)>& wanted) {
  std::vector<std::int64_t> found;
  std::error_code error;
  const std::string folder =
      std::filesystem::read_symlink(fmt::format("/proc/self/fd/{}", directory_fd), error).string() +
      "/";
  if (error) return found;
  std::filesystem::directory_iterator processes("/proc", error);
  for (; !error && processes != std::filesystem::directory_iterator(); processes.increment(error)) {
    const std::string name = processes->path().filename().string();
    const std::int64_t pid = std::strtoll(name.c_str(), nullptr, 10);
    if (pid <= 0 || pid == ::getpid()) continue;
    std::ifstream maps(fmt::format("/proc/{}/maps", pid));
    for (std::string line; std::getline(maps, line);) {
      if (!is_about(line, folder, wanted)) continue;
      found.push_back(pid);
      break;
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace tailrace
