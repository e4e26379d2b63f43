#include <fmt/format.h>

#include <cstdio>
#include <exception>

#include "demo/feeder.h"
#include "demo/follower.h"
#include "demo/options.h"
#include "demo/performance.h"
#include "demo/show.h"

namespace {

/// A child's whole life. What goes wrong is left on the board for the parent to say.
int play(const demo::Options& options) {
  auto board = demo::SharedBoard::attach(options.board_fd);
  if (!board) {
    fmt::print(stderr, "tailrace-demo: {}\n", board.error().message());
    return 1;
  }
  demo::Board& shared = **board;
  const demo::Role role = *options.role;
  const auto done = role == demo::Role::writer ? demo::feed(shared) : demo::follow(shared, role);
  if (done) return 0;
  auto& place = role == demo::Role::writer ? shared.writer.error : shared.reader(role).error;
  demo::put_text(place, done.error().message());
  return 1;
}

int interrupted(bool kept) {
  std::fprintf(stderr, "tailrace-demo: interrupted; no process is left%s\n",
               kept ? "" : ", nor any file");
  return 128 + demo::caught_signal();
}

int run(int argc, char** argv) {
  const auto options = demo::parse_options(argc, argv);
  if (!options) {
    fmt::print(stderr, "tailrace-demo: {}\n", options.error().message());
    return 2;
  }
  if (options->help) {
    fmt::print("{}", demo::kHelp);
    return 0;
  }
  if (options->role) return play(*options);

  demo::catch_signals();
  const auto agreed = demo::perform(*options);
  if (demo::caught_signal() != 0) return interrupted(options->keep);
  if (!agreed) fmt::print(stderr, "tailrace-demo: {}\n", agreed.error().message());
  return agreed && *agreed ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {  // no memory, nobody reads stdout, and the like
    if (demo::caught_signal() != 0) return 128 + demo::caught_signal();
    std::fprintf(stderr, "tailrace-demo: %s\n", error.what());
    return 1;
  }
}
