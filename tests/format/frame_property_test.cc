// Random records make the round trip, and random damage never passes. RapidCheck prints its seed;
// RC_PARAMS="seed=..." runs it again.

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <set>

#include "frames.h"
#include "tailrace/record.h"

namespace tailrace::test {
namespace {

struct Input {
  FrameHead head;
  Position position = 0;
  std::uint64_t salt = 0;
  std::vector<std::string> keys;
  std::string payload;

  [[nodiscard]] Frame frame() const {
    const std::vector<std::string_view> views(keys.begin(), keys.end());
    return make_frame(head, position, views, payload, salt);
  }
};

Input any_input() {
  using namespace rc;
  Input input;
  const auto flags =
      *gen::element<std::uint8_t>(0, kBatchGoesOn, kHasEventId, kBatchGoesOn | kHasEventId);
  input.head = {*gen::arbitrary<Sequence>(),         *gen::arbitrary<std::int64_t>(),
                *gen::arbitrary<std::uint32_t>(),    *gen::arbitrary<std::uint16_t>(),
                with_flag(FrameKind::record, flags), 0};
  input.position = *gen::arbitrary<std::uint64_t>() & ~std::uint64_t{31};
  input.salt = *gen::arbitrary<std::uint64_t>();
  const auto bytes = [](std::size_t least, std::size_t most) {
    return gen::mapcat(gen::inRange(least, most + 1), [](std::size_t size) {
      return gen::container<std::string>(size, gen::arbitrary<char>());
    });
  };
  const auto keys = *gen::scale(0.2, gen::container<std::set<std::string>>(bytes(1, 50)));
  input.keys.assign(keys.begin(), keys.end());
  input.payload = *gen::oneOf(bytes(0, 80), bytes(200, 2000));
  return input;
}

TEST(FrameProperty, WhatIsWrittenIsFoundAndComesBack) {
  const bool passed = rc::check("round trip of a record", [] {
    const Input input = any_input();
    const Frame frame = input.frame();
    const FrameLook look = frame.look();
    RC_ASSERT(look.state == FrameState::valid);
    RC_ASSERT(look.kind == input.head.kind);
    RC_ASSERT(look.type == input.head.type);
    RC_ASSERT(look.timestamp_ns == input.head.timestamp_ns);
    RC_ASSERT(look.epoch == input.head.epoch);
    RC_ASSERT(look.key_count == input.keys.size());
    RC_ASSERT(look.size == frame.size);
    std::vector<std::string> keys;
    const KeyRange range(first_key(frame.room.data(), look.kind), look.key_count,
                         look.has_event_id());
    if (look.has_event_id()) RC_ASSERT(range.event_id() == kSubmitted);
    for (const KeyView key : range) {
      RC_ASSERT(key.previous == 0u);
      RC_ASSERT(key.version == 1u);
      RC_ASSERT(key.created);
      RC_ASSERT(!key.released);
      keys.emplace_back(key.bytes);
    }
    RC_ASSERT(keys == input.keys);
    const std::size_t head_bytes = kFrameHeaderBytes + look.key_bytes;
    RC_ASSERT(as_text(frame.bytes().subspan(head_bytes)) == input.payload);
  });
  EXPECT_TRUE(passed);
}

TEST(FrameProperty, DamageOfUpToThirtyTwoBitsInARowIsAlwaysFound) {
  const bool passed = rc::check("a burst is found", [] {
    const Input input = any_input();
    Frame frame = input.frame();
    const auto at = *rc::gen::inRange<std::size_t>(0, frame.size);
    const auto length = *rc::gen::inRange<std::size_t>(1, 5);
    bool changed = false;
    for (std::size_t i = at; i < std::min<std::size_t>(at + length, frame.size); ++i) {
      const auto flip = static_cast<std::byte>(*rc::gen::arbitrary<std::uint8_t>());
      frame.room.data()[i] ^= flip;
      changed = changed || flip != std::byte{0};
    }
    RC_PRE(changed);
    RC_ASSERT(frame.look().state != FrameState::valid);
  });
  EXPECT_TRUE(passed);
}

TEST(FrameProperty, RandomBytesAreNeverReadBehindTheRoom) {
  const bool passed = rc::check("garbage is refused, also without the checksum", [] {
    const auto units = *rc::gen::inRange<std::size_t>(1, 8);
    Room room(units * kFrameAlignment);  // the sanitizer watches its end
    for (std::size_t i = 0; i < room.size(); ++i) {
      room.data()[i] = static_cast<std::byte>(*rc::gen::arbitrary<std::uint8_t>());
    }
    const bool likely = *rc::gen::arbitrary<bool>();
    if (likely) {  // plausible up to the keys
      store(room.data(), *rc::gen::inRange<std::uint32_t>(0, 300));
      store(room.data() + frame_offset::kSequence, Sequence{1});
      store(room.data() + frame_offset::kEpoch, std::uint16_t{1});
      store(room.data() + frame_offset::kKind,
            with_flag(FrameKind::record, *rc::gen::element<std::uint8_t>(0, kHasEventId)));
    }
    const FrameExpected expected{frame_crc_seed(kSalt), 1, 1};
    const FrameLook look = check_frame(room.data(), room.size(), 4096, expected, false);
    if (look.state == FrameState::valid) {
      RC_ASSERT(look.size <= room.size());
      RC_ASSERT(kFrameHeaderBytes + look.key_bytes <= look.size);
    }
    RC_ASSERT(check_frame(room.data(), room.size(), 4096, expected).state != FrameState::valid);
  });
  EXPECT_TRUE(passed);
}

}  // namespace
}  // namespace tailrace::test
