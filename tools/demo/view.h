#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "demo/board.h"

namespace demo {

/// How a process is doing; decides its colour.
enum class Mood : std::uint8_t { waiting, well, behind, dead, done };

/// One process, one line.
struct Row {
  Role role = Role::writer;
  Mood mood = Mood::waiting;
  std::uint64_t sequence = 0;
  std::string remark;
};

/// Something that happened, and when.
struct Note {
  double at_s = 0;
  Mood mood = Mood::well;
  std::string text;
};

/// What there is to see at one moment.
struct Scene {
  double at_s = 0;
  std::uint64_t events = 0;  ///< how many there will be
  std::uint64_t newest = 0;  ///< sequence
  double per_second = 0;
  std::array<Row, 1 + kReaders.size()> rows;
  std::uint64_t committed_bytes = 0;
  std::uint64_t durable_bytes = 0;
  std::string latency;
  std::vector<Note> notes;
};

/// Shows scenes on stdout.
class View {
 public:
  virtual ~View() = default;
  /// May be called as often as one likes.
  virtual void show(const Scene& scene) = 0;
  /// The last scene: everything has been read. The view leaves the screen to plain text.
  virtual void close(const Scene& scene) = 0;
};

/// Redrawn in place about ten times a second, as wide as the terminal is; bars in UTF-8 where the
/// locale has it, colours unless NO_COLOR is set.
[[nodiscard]] std::unique_ptr<View> make_live_view();
/// For pipes and files: one line a second, and one for each note.
[[nodiscard]] std::unique_ptr<View> make_plain_view();
/// The one that suits stdout.
[[nodiscard]] std::unique_ptr<View> make_view();

}  // namespace demo
