#include "demo/view.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "demo/text.h"

namespace demo {
namespace {

class PlainView : public View {
 public:
  void show(const Scene& scene) override {
    for (; notes_ < scene.notes.size(); ++notes_) {
      const Note& note = scene.notes[notes_];
      fmt::print("{:5.1f} s  {}\n", note.at_s, note.text);
    }
    if (scene.at_s >= next_s_) {
      next_s_ = scene.at_s + 1;
      print_state(scene);
    }
    std::fflush(stdout);
  }

  void close(const Scene& scene) override {
    next_s_ = 0;
    show(scene);
  }

 private:
  static void print_state(const Scene& scene) {
    std::string line = fmt::format("{:5.1f} s  {} events, {}", scene.at_s, grouped(scene.newest),
                                   rate(scene.per_second));
    for (const Row& row : scene.rows) {
      if (row.role != Role::writer) {
        line += fmt::format("; {}: {}", to_string(row.role), row.remark);
      }
    }
    fmt::print("{}\n", line);
  }

  std::size_t notes_ = 0;
  double next_s_ = 1;
};

}  // namespace

std::unique_ptr<View> make_plain_view() { return std::make_unique<PlainView>(); }

std::unique_ptr<View> make_view() {
  const char* terminal = std::getenv("TERM");
  const bool clever = terminal != nullptr && std::string_view(terminal) != "dumb";
  return ::isatty(STDOUT_FILENO) != 0 && clever ? make_live_view() : make_plain_view();
}

}  // namespace demo
