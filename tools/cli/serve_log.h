#pragma once

#include <tailrace/server.h>

#include <mutex>
#include <string>

namespace tailrace::cli {

/// What `tailrace serve` says on stderr, a line for each event: for people, or as JSON.
/// Threads: any.
class ServeLog {
 public:
  explicit ServeLog(bool json) : json_(json) {}

  void event(const std::string& log, const ServerEvent& event);
  /// What opening the log has found; nothing if there is nothing to say.
  void recovery(const std::string& log, const Recovery& recovery);

 private:
  void write(std::string line);

  bool json_;
  std::mutex mutex_;
};

}  // namespace tailrace::cli
