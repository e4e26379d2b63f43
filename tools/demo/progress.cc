#include "demo/progress.h"

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <string>

namespace demo {
namespace {

using tailrace::errc;
using tailrace::Error;

constexpr const char* kTitle = "tailrace-demo-progress";
constexpr const char* kLast = "end";

}  // namespace

tailrace::Result<void> save(const Progress& progress, const std::filesystem::path& path) {
  std::filesystem::path beside = path;
  beside += ".new";
  std::ofstream file(beside, std::ios::trunc);
  file << kTitle << '\n'
       << progress.sequence << ' ' << progress.timestamp_ns << ' ' << progress.digest.value() << ' '
       << progress.delays.size() << '\n';
  for (const auto& [airport, delay] : progress.delays) {
    file << airport.word() << ' ' << delay.flights << ' ' << delay.sum_min << ' ' << delay.worst_min
         << '\n';
  }
  file << kLast << '\n';
  file.close();
  if (!file || std::rename(beside.c_str(), path.c_str()) != 0) {
    const errc code = errno == ENOSPC ? errc::no_space : errc::io;
    return fail(Error(code, "cannot save the reader's progress").path(path).os_error(errno));
  }
  return {};
}

tailrace::Result<Progress> load_progress(const std::filesystem::path& path) {
  Progress progress;
  if (!std::filesystem::exists(path)) return progress;
  std::ifstream file(path);
  std::string word;
  std::uint64_t digest = 0;
  std::size_t airports = 0;
  file >> word >> progress.sequence >> progress.timestamp_ns >> digest >> airports;
  bool good = word == kTitle;
  for (std::size_t i = 0; good && i < airports; ++i) {
    std::uint64_t airport = 0;
    Delay delay;
    good = static_cast<bool>(file >> airport >> delay.flights >> delay.sum_min >> delay.worst_min);
    progress.delays[Airport(airport)] = delay;
  }
  if (!good || !(file >> word) || word != kLast) {
    return fail(Error(errc::corrupt, "the reader's progress file is damaged").path(path));
  }
  progress.digest = Digest(digest);
  return progress;
}

}  // namespace demo
