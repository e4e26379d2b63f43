#pragma once

#include <functional>

#include "common/damage.h"
#include "consumers/consumers.h"

namespace tailrace::test {

/// A power cut: nothing of the segments behind what is durable has reached the disk, and this is
/// another boot. Nobody has the log open. The files of the consumers stay as they are.
inline void cut_power(const TempLog& log) {
  const auto control = log.path() / "control";
  const auto durable = peek<Position>(control, offsetof(Control, durable));
  for (const auto& entry : std::filesystem::directory_iterator(log.path() / "segments")) {
    const std::string name = entry.path().filename().string();
    if (!name.ends_with(".seg")) continue;
    const Position base = std::stoull(name);
    const std::uint64_t size = std::filesystem::file_size(entry.path());
    if (base + size <= durable) continue;
    const std::uint64_t from = durable > base ? durable - base : 0;
    poke(entry.path(), from, std::string(size - from, '\0'));
  }
  poke_value(control, offsetof(Control, committed), durable);
  poke(control, offsetof(Control, boot_id), "another boot id!");
}

/// Before a writer has opened the log again: what is durable may lie in the journal only.
inline void lose_what_only_the_journal_has(const TempLog& log, Position from) {
  poke(log.segment(0), from, std::string(std::filesystem::file_size(log.segment(0)) - from, '\0'));
}

/// A log of `durable` records, and of `more` that a power cut takes away; they are all of one size,
/// as are those that come afterwards, so that positions and sequences meet again.
inline void write_and_lose(const TempLog& log, int durable, int more,
                           const std::function<void()>& before_the_cut) {
  const bool died = killed_after([&] {
    WriterOptions options;
    options.sync = SyncPolicy::none;
    Writer writer = log.writer(options);
    for (int i = 0; i < durable; ++i) must(writer.append(as_bytes("durable")));
    must(writer.sync());
    for (int i = 0; i < more; ++i) must(writer.append(as_bytes("perhaps")));
    before_the_cut();
    die();
  });
  ASSERT_TRUE(died);
  cut_power(log);
}

}  // namespace tailrace::test
