#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "demo/board.h"

namespace demo {

/// A process of the demo: this very program, started again with a role. It dies with its parent,
/// however that dies, and with this object.
class Child {
 public:
  /// The child finds the board at descriptor `board_fd`. Errors: io.
  [[nodiscard]] static tailrace::Result<Child> start(Role role, int board_fd);

  Child(Child&& other) noexcept;
  Child& operator=(Child&& other) noexcept;
  ~Child();

  /// SIGKILL, and waits until it is gone. True if it was this signal that ended it.
  bool kill_now();
  /// Its wait status if it has ended; does not wait.
  [[nodiscard]] std::optional<int> poll();

 private:
  explicit Child(pid_t pid) : pid_(pid) {}
  pid_t pid_ = 0;  // 0 = none, or reaped
};

/// "exit code 1", "signal 11 (Segmentation fault)".
[[nodiscard]] std::string describe_status(int wait_status);

}  // namespace demo
