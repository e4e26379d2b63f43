#include "format/frame.h"

namespace tailrace {

const char* describe(FrameState state) noexcept {
  switch (state) {
    case FrameState::valid: return "valid";
    case FrameState::empty: return "nothing there";
    case FrameState::bad_size: return "impossible size";
    case FrameState::bad_kind: return "unknown kind";
    case FrameState::bad_sequence: return "wrong sequence";
    case FrameState::bad_epoch: return "wrong epoch";
    case FrameState::bad_keys: return "keys run over the end";
    case FrameState::bad_crc: return "wrong checksum";
  }
  return "?";
}

}  // namespace tailrace
