#include "cli/report.h"

#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>

#include "cli/output.h"

namespace tailrace::cli {

void complain(std::string_view command, std::string_view message) {
  std::string line = "tailrace: ";
  if (!command.empty()) line.append(command).append(": ");
  for (const char c : message) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      line += fmt::format("\\x{:02x}", byte);
    } else {
      line += c;
    }
  }
  line += '\n';
  // One write, so that lines of several processes do not mix. Nothing can be done if it fails.
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
}

Exit print(std::string_view command, std::string_view text) {
  Output out(STDOUT_FILENO);
  out.put(text);
  return out.flush() ? Exit::ok : output_failed(command, out.error());
}

Exit output_failed(std::string_view command, int error) {
  if (error == EPIPE) return Exit::ok;
  if (error == EINTR) return Exit::interrupted;
  complain(command, "stdout: {}", std::generic_category().message(error));
  return Exit::failure;
}

Exit give_up(std::string_view command, const Error& error) {
  complain(command, std::string_view(error.message()));
  return exit_for(error.code());
}

}  // namespace tailrace::cli
