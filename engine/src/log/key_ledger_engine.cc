#include "format/frame.h"
#include "log/key_ledger.h"

namespace tailrace {
namespace {

/// The payload of the engine's record at a place, if a whole one stands there.
std::optional<std::vector<std::byte>> payload_in(const KeyLedger::Frame& frame, Position position,
                                                 Sequence sequence, std::uint32_t crc_seed) {
  const std::uint64_t room = align_down(frame.room, kFrameAlignment);
  if (room < kFrameHeaderBytes) return std::nullopt;
  const FrameExpected expected{crc_seed, sequence,
                               load<std::uint16_t>(frame.at + frame_offset::kEpoch)};
  const FrameLook look = check_frame(frame.at, room, position, expected);
  if (look.state != FrameState::valid || !look.is_record()) return std::nullopt;
  return std::vector(frame.at + kFrameHeaderBytes + look.key_bytes, frame.at + look.size);
}

}  // namespace

Result<std::optional<KeyLedger::EngineRecord>> KeyLedger::engine_record(std::string_view key) {
  // What is found on the way serves nobody else: the key's bytes may be gone by then.
  const Request own(*this);
  while (true) {
    auto found = state_of(key);
    if (!found) return fail(std::move(found.error()));
    if (!*found) return std::optional<EngineRecord>();
    const KeyState state = **found;
    if (state.position == 0) {
      auto removed = removed_keys();
      if (!removed) return fail(std::move(removed.error()));
      auto stored = (*removed)->find(key, asked_.hash.high, asked_.hash.low);
      if (!stored) return fail(std::move(stored.error()));
      const Bytes payload = *stored ? (*stored)->payload : Bytes();
      return EngineRecord{state, {payload.begin(), payload.end()}};
    }
    const auto frame = frame_at(state.position);
    auto payload =
        frame ? payload_in(*frame, state.position, state.sequence, files_.crc_seed) : std::nullopt;
    if (!retained(state.position)) continue;  // a trim came in between
    if (!frame) return fail(frame.error());
    return EngineRecord{state, payload ? std::move(*payload) : std::vector<std::byte>()};
  }
}

}  // namespace tailrace
