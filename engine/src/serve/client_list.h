#pragma once

#include <cstdint>
#include <vector>

#include "file/mapping.h"
#include "log/log_files.h"
#include "serve/served_client.h"

namespace tailrace {

/// The server's side of the file that tells of its clients. Without room on the disk for it there
/// is none, and nobody misses more than `tailrace top`.
class ClientList {
 public:
  static constexpr const char* kName = "clients";

  /// Makes the file anew; the old one's readers keep the old one. For the holder of the lock.
  void open(const LogFiles& files, Epoch epoch, std::size_t slots);
  /// Removes it.
  void close(const LogFiles& files);

  [[nodiscard]] bool up_to_date(const ServedClient& connection) const noexcept {
    return !file_ || (connection.shown && connection.counts == connection.shown_counts &&
                      connection.stalled == connection.shown_stalled &&
                      connection.waiting == connection.shown_waiting);
  }
  /// Tells how things stand with a client, if that has changed.
  void show(ServedClient& connection);
  void remove(ServedClient& connection);

 private:
  Mapping file_;
  std::vector<std::size_t> free_;
};

}  // namespace tailrace
