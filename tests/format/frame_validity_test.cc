// "A frame is valid if and only if": each condition of docs/format.md#frame, broken one at a time.

#include <gtest/gtest.h>

#include "frames.h"

namespace tailrace::test {
namespace {

using namespace std::string_view_literals;

constexpr Position kPlace = 4096 + 320;

/// 200 bytes: 32 of header, 32 + 40 of keys, 96 of payload.
Frame two_hundred_bytes() {
  static const std::string payload(96, 'x');
  Frame frame = make_frame({77, kTime, 3, 0x1234, FrameKind::record, 0}, kPlace,
                           {"user:ada", "airport:ORD"}, payload);
  EXPECT_EQ(frame.size, 200u);
  EXPECT_EQ(frame.look().state, FrameState::valid);
  return frame;
}

std::byte bit(unsigned number) { return std::byte{static_cast<unsigned char>(1U << number)}; }

TEST(FrameValidity, AnyFlippedBitMakesItInvalid) {
  Frame frame = two_hundred_bytes();
  for (std::size_t i = 0; i < frame.size; ++i) {
    for (unsigned b = 0; b < 8; ++b) {
      frame.room.data()[i] ^= bit(b);
      EXPECT_NE(frame.look().state, FrameState::valid) << "byte " << i << " bit " << b;
      frame.room.data()[i] ^= bit(b);
    }
  }
  EXPECT_EQ(frame.look().state, FrameState::valid);
}

TEST(FrameValidity, AnyFlippedBitOfARecordWithoutKeysMakesItInvalid) {
  for (const std::size_t payload_bytes : {0U, 1U, 31U, 64U, 100U, 223U, 224U}) {
    for (const FrameKind kind : {FrameKind::record, FrameKind::batch_record,
                                 FrameKind::record_with_id, FrameKind::batch_record_with_id}) {
      const std::string payload(payload_bytes, 'x');
      Frame frame = make_frame({77, kTime, 3, 0x1234, kind, 0}, kPlace, {}, payload);
      ASSERT_EQ(frame.look().state, FrameState::valid);
      for (std::size_t i = 0; i < frame.size; ++i) {
        for (unsigned b = 0; b < 8; ++b) {
          frame.room.data()[i] ^= bit(b);
          EXPECT_NE(frame.look().state, FrameState::valid) << "byte " << i << " bit " << b;
          frame.room.data()[i] ^= bit(b);
        }
      }
    }
  }
}

TEST(FrameValidity, ARecordWithoutKeysIsNothingElseByItsChecksumAlone) {
  for (int value = 0; value < 256; ++value) {
    for (const std::size_t offset : {frame_offset::kKind, frame_offset::kKeyCount}) {
      Frame frame =
          make_frame({77, kTime, 3, 0x1234, FrameKind::record, 0}, kPlace, {}, "12345678");
      store(frame.room.data() + offset, static_cast<std::uint8_t>(value));
      frame.sum_again();
      static_cast<void>(frame.look());  // compares the shortcut with the answer
    }
  }
}

TEST(FrameValidity, AnyFlippedBitOfAControlFrameMakesItInvalid) {
  for (Frame frame : {make_frame({11, kTime, 0, 2, FrameKind::epoch_start, 0}, kPlace, {},
                                 "\x02\x00\x00\x00\x00\x00\x00\x00"sv),
                      make_frame({11, kTime, 0, 2, FrameKind::padding, 0}, kPlace, {}, "")}) {
    FrameExpected expected = frame.expected();
    if (frame.head.kind == FrameKind::epoch_start) --expected.epoch;
    ASSERT_EQ(frame.look(expected).state, FrameState::valid);
    for (std::size_t i = 0; i < frame.size; ++i) {
      for (unsigned b = 0; b < 8; ++b) {
        frame.room.data()[i] ^= bit(b);
        EXPECT_NE(frame.look(expected).state, FrameState::valid) << "byte " << i << " bit " << b;
        frame.room.data()[i] ^= bit(b);
      }
    }
  }
}

TEST(FrameValidity, TheReasonIsTheFieldThatIsWrong) {
  const auto state_with = [](std::size_t offset, std::uint8_t value) {
    Frame frame = two_hundred_bytes();
    store(frame.room.data() + offset, value);
    frame.sum_again();  // so that the field alone is what is wrong
    return frame.look().state;
  };
  EXPECT_EQ(state_with(frame_offset::kSequence, 78), FrameState::bad_sequence);
  EXPECT_EQ(state_with(frame_offset::kEpoch, 0x33), FrameState::bad_epoch);
  EXPECT_EQ(state_with(frame_offset::kKeyCount, 255), FrameState::bad_keys);
  for (int kind = 0; kind < 256; ++kind) {
    if (is_record(static_cast<FrameKind>(kind))) continue;
    // 0x02 and 0x03 are known, but have another size.
    EXPECT_EQ(state_with(frame_offset::kKind, static_cast<std::uint8_t>(kind)),
              kind == 2 || kind == 3 ? FrameState::bad_size : FrameState::bad_kind)
        << "kind " << kind;
  }
  EXPECT_EQ(state_with(frame_offset::kKind, 0x11), FrameState::valid);
  EXPECT_EQ(state_with(frame_offset::kTimestamp, 0), FrameState::valid);  // not compared
}

TEST(FrameValidity, SizesThatCannotBe) {
  for (const std::uint32_t size : {1U, 31U, 225U, 1U << 20, 0x80000000U, 0xFFFFFFFFU}) {
    Frame frame = two_hundred_bytes();
    store(frame.room.data(), size);
    EXPECT_EQ(frame.look().state, FrameState::bad_size) << size;  // never looked behind the room
  }
  Frame frame = two_hundred_bytes();
  store(frame.room.data(), std::uint32_t{0});
  EXPECT_EQ(frame.look().state, FrameState::empty);
}

TEST(FrameValidity, AFrameMayEndWithTheSegmentButNotBehindIt) {
  const Frame frame = two_hundred_bytes();
  const auto with_room = [&](std::uint64_t room) {
    return check_frame(frame.room.data(), room, frame.position, frame.expected()).state;
  };
  EXPECT_EQ(with_room(224), FrameState::valid);
  EXPECT_EQ(with_room(192), FrameState::bad_size);
  EXPECT_EQ(with_room(32), FrameState::bad_size);
}

TEST(FrameValidity, ACopyAtAnotherPositionIsInvalid) {
  const Frame frame = two_hundred_bytes();
  for (const Position position :
       {kPlace - 32, kPlace + 32, kPlace + (Position{1} << 20), kPlace + (Position{1} << 63)}) {
    EXPECT_EQ(check_frame(frame.room.data(), frame.room.size(), position, frame.expected()).state,
              FrameState::bad_crc);
  }
}

TEST(FrameValidity, ACopyFromAnotherLogIsInvalid) {
  const Frame frame = two_hundred_bytes();
  for (unsigned b = 0; b < 64; ++b) {
    FrameExpected expected = frame.expected();
    expected.crc_seed = frame_crc_seed(kSalt ^ std::uint64_t{1} << b);
    EXPECT_EQ(frame.look(expected).state, FrameState::bad_crc) << "bit " << b;
  }
}

TEST(FrameValidity, AFrameOfAnotherSequenceIsInvalid) {
  const Frame frame = two_hundred_bytes();
  for (unsigned b = 0; b < 64; ++b) {
    FrameExpected expected = frame.expected();
    expected.sequence ^= std::uint64_t{1} << b;
    EXPECT_EQ(frame.look(expected).state, FrameState::bad_sequence) << "bit " << b;
  }
}

TEST(FrameValidity, ARecordOfAnotherEpochIsInvalid) {
  for (const FrameKind kind : {FrameKind::record, FrameKind::batch_record, FrameKind::padding}) {
    const Frame frame = make_frame({77, kTime, 0, 0x1234, kind, 0}, kPlace, {}, "");
    for (unsigned b = 0; b < 16; ++b) {
      FrameExpected expected = frame.expected();
      expected.epoch ^= Epoch{1} << b;
      EXPECT_EQ(frame.look(expected).state, FrameState::bad_epoch) << "bit " << b;
    }
    FrameExpected expected = frame.expected();
    expected.epoch += 0x10000;  // the frame says only the low 16 bits
    EXPECT_EQ(frame.look(expected).state, FrameState::valid);
  }
}

TEST(FrameValidity, AnEpochStartRaisesTheEpoch) {
  const auto state_at = [](Epoch in_force, Epoch full, std::uint16_t low) {
    char payload[8];
    std::memcpy(payload, &full, sizeof payload);
    const Frame frame = make_frame({5, kTime, 0, low, FrameKind::epoch_start, 0}, kPlace, {},
                                   {payload, sizeof payload});
    return frame.look({frame_crc_seed(kSalt), 5, in_force}).state;
  };
  EXPECT_EQ(state_at(7, 8, 8), FrameState::valid);
  EXPECT_EQ(state_at(8, 8, 8), FrameState::bad_epoch);  // each writer has one of its own
  EXPECT_EQ(state_at(9, 8, 8), FrameState::bad_epoch);
  EXPECT_EQ(state_at(0, 0x10000, 0), FrameState::valid);  // the 16 bits went round
  EXPECT_EQ(state_at(0x10000, 0xFFFF, 0xFFFF), FrameState::bad_epoch);
  EXPECT_EQ(state_at(7, 8, 9), FrameState::bad_epoch);  // header and payload disagree
}

TEST(FrameValidity, ControlFramesHaveOneSizeAndNoKeys) {
  const auto state_of = [](FrameKind kind, std::size_t payload_bytes, std::uint8_t keys) {
    std::string payload(payload_bytes, '\0');
    if (payload_bytes > 0) payload[0] = 1;  // epoch 1
    const std::uint16_t epoch = kind == FrameKind::epoch_start ? 1 : 0;
    Frame frame = make_frame({5, kTime, 0, epoch, kind, 0}, kPlace, {}, payload);
    store(frame.room.data() + frame_offset::kKeyCount, keys);
    frame.sum_again();
    return frame.look({frame_crc_seed(kSalt), 5, 0}).state;
  };
  EXPECT_EQ(state_of(FrameKind::padding, 0, 0), FrameState::valid);
  EXPECT_EQ(state_of(FrameKind::padding, 1, 0), FrameState::bad_size);
  EXPECT_EQ(state_of(FrameKind::padding, 0, 1), FrameState::bad_size);
  EXPECT_EQ(state_of(FrameKind::epoch_start, 8, 0), FrameState::valid);
  EXPECT_EQ(state_of(FrameKind::epoch_start, 7, 0), FrameState::bad_size);
  EXPECT_EQ(state_of(FrameKind::epoch_start, 9, 0), FrameState::bad_size);
  EXPECT_EQ(state_of(FrameKind::epoch_start, 8, 1), FrameState::bad_size);
}

TEST(FrameValidity, KeysThatRunOverTheEndAreFoundWithoutTheChecksum) {
  const auto state_with_length = [](std::size_t entry, std::uint16_t length) {
    Frame frame = two_hundred_bytes();
    store(frame.room.data() + kFrameHeaderBytes + entry + key_offset::kLength, length);
    return frame.look(frame.expected(), false).state;
  };
  // 200 - 32 - 32 of the first entry - 24 of the second's head: room for 112.
  EXPECT_EQ(state_with_length(32, 112), FrameState::valid);
  EXPECT_EQ(state_with_length(32, 113), FrameState::bad_keys);
  EXPECT_EQ(state_with_length(32, 65535), FrameState::bad_keys);
  EXPECT_EQ(state_with_length(0, 65535), FrameState::bad_keys);
  // The first one takes all but 16 bytes: no room for the second's head.
  EXPECT_EQ(state_with_length(0, 128), FrameState::bad_keys);
  Frame frame = two_hundred_bytes();
  store(frame.room.data() + frame_offset::kKeyCount, std::uint8_t{255});
  EXPECT_EQ(frame.look(frame.expected(), false).state, FrameState::bad_keys);
}

TEST(FrameValidity, AnEventIdMustFitInFrontOfTheKeys) {
  const auto state_of = [](std::size_t payload_bytes, std::uint8_t keys) {
    Frame frame = make_frame({5, kTime, 0, 0, FrameKind::record, 0}, kPlace, {},
                             std::string(payload_bytes, '\0'));
    store(frame.room.data() + frame_offset::kKind, FrameKind::record_with_id);
    store(frame.room.data() + frame_offset::kKeyCount, keys);
    frame.sum_again();
    return frame.look().state;
  };
  EXPECT_EQ(state_of(0, 0), FrameState::bad_keys);
  EXPECT_EQ(state_of(39, 0), FrameState::bad_keys);
  EXPECT_EQ(state_of(40, 0), FrameState::valid);
  EXPECT_EQ(state_of(63, 1), FrameState::bad_keys);  // no room for the head of a key behind it
  EXPECT_EQ(state_of(64, 1), FrameState::valid);
}

TEST(FrameValidity, EveryStateHasItsWords) {
  for (int i = 0; i <= static_cast<int>(FrameState::bad_crc); ++i) {
    for (int j = 0; j < i; ++j) {
      EXPECT_STRNE(describe(static_cast<FrameState>(i)), describe(static_cast<FrameState>(j)));
    }
  }
}

}  // namespace
}  // namespace tailrace::test
