// Every kind of frame, pinned byte by byte. The bytes were made by another implementation
// (struct.pack and the CRC of tests/format/reader.py), not copied from what the engine wrote.

#include "format/frame.h"

#include <gtest/gtest.h>

#include "frames.h"
#include "hex.h"
#include "tailrace/record.h"

namespace tailrace::test {
namespace {

using namespace std::string_view_literals;

TEST(FrameBytes, Record) {
  const Frame frame = make_frame(
      {0x0102030405060708, kTime, 0xA1A2A3A4, 0xBEEF, FrameKind::record, 0}, 4096, {}, "hello");
  EXPECT_EQ(hex(frame.bytes()), same("25000000 265721ba 08070605 04030201"
                                     "77665544 33221100 a4a3a2a1 efbe0100"
                                     "68656c6c 6f"));
  EXPECT_EQ(frame.look().state, FrameState::valid);
}

TEST(FrameBytes, EmptyRecord) {
  const Frame frame = make_frame({1, kTime, 0, 0xBEEF, FrameKind::record, 0}, 4096, {}, "");
  EXPECT_EQ(hex(frame.bytes()), same("20000000 c9ae1a5d 01000000 00000000"
                                     "77665544 33221100 00000000 efbe0100"));
  EXPECT_EQ(frame.look().state, FrameState::valid);
}

TEST(FrameBytes, RecordWithKeys) {
  const Frame frame = make_frame({9, kTime, 7, 1, FrameKind::record, 0}, 0x123456789ABCDE20,
                                 {"user:ada", "\0"sv}, "p");
  EXPECT_EQ(hex(frame.bytes()), same("61000000 06cd2e9e 09000000 00000000"
                                     "77665544 33221100 07000000 01000102"
                                     "00000000 00000000 01000000 00000000"
                                     "08000100 00000000 75736572 3a616461"
                                     "00000000 00000000 01000000 00000000"
                                     "01000100 00000000 00000000 00000000"
                                     "70"));
  const FrameLook look = frame.look();
  EXPECT_EQ(look.state, FrameState::valid);
  EXPECT_EQ(look.key_count, 2);
  EXPECT_EQ(look.key_bytes, 64u);
}

TEST(FrameBytes, Padding) {
  const Frame frame = make_frame({10, kTime, 0, 3, FrameKind::padding, 0}, 0xFFFE0, {}, "");
  EXPECT_EQ(hex(frame.bytes()), same("20000000 9dae82a8 0a000000 00000000"
                                     "77665544 33221100 00000000 03000200"));
  EXPECT_EQ(frame.size, kPaddingSize);
  EXPECT_EQ(frame.look().state, FrameState::valid);
}

TEST(FrameBytes, EpochStart) {
  const Frame frame = make_frame({11, kTime, 0, 2, FrameKind::epoch_start, 0}, 4096, {},
                                 "\x02\x00\x01\x00\x00\x00\x00\x00"sv);
  EXPECT_EQ(hex(frame.bytes()), same("28000000 9185ac57 0b000000 00000000"
                                     "77665544 33221100 00000000 02000300"
                                     "02000100 00000000"));
  EXPECT_EQ(frame.size, kEpochFrameSize);
  EXPECT_EQ(frame.look({frame_crc_seed(kSalt), 11, 0x10001}).state, FrameState::valid);
}

TEST(FrameBytes, BatchOfTwo) {
  const Frame first = make_frame({12, kTime, 5, 4, FrameKind::batch_record, 0}, 8192, {}, "a");
  const Frame second = make_frame({13, kTime, 6, 4, FrameKind::record, 0}, 8192 + 64, {}, "b");
  EXPECT_EQ(hex(first.bytes()), same("21000000 1a0479f3 0c000000 00000000"
                                     "77665544 33221100 05000000 04001100 61"));
  EXPECT_EQ(hex(second.bytes()), same("21000000 3f63e3ab 0d000000 00000000"
                                      "77665544 33221100 06000000 04000100 62"));
  EXPECT_TRUE(first.look().goes_on());
  EXPECT_FALSE(second.look().goes_on());
  EXPECT_EQ(frame_span(first.size), 64u);
}

TEST(FrameBytes, RecordWithAnEventId) {
  const Frame frame =
      make_frame({14, kTime, 7, 4, FrameKind::record_with_id, 0}, 8192, {"user:ada"}, "p");
  EXPECT_EQ(hex(frame.bytes()), same("69000000 9ef374ba 0e000000 00000000"
                                     "77665544 33221100 07000000 04002101"
                                     "e0e1e2e3 e4e5e6e7 e8e9eaeb ecedeeef"
                                     "eeffc000 00000000 d0d1d2d3 d4d5d6d7"
                                     "d8d9dadb dcdddedf 00000000 00000000"
                                     "01000000 00000000 08000100 00000000"
                                     "75736572 3a616461 70"));
  const FrameLook look = frame.look();
  EXPECT_EQ(look.state, FrameState::valid);
  EXPECT_TRUE(look.is_record() && look.has_event_id() && !look.goes_on());
  EXPECT_EQ(look.key_count, 1);  // the id is none of them
  EXPECT_EQ(look.key_bytes, 72u);
  const KeyRange keys(first_key(frame.room.data(), look.kind), look.key_count, true);
  EXPECT_EQ((*keys.begin()).bytes, "user:ada");
  EXPECT_EQ(keys.event_id(), kSubmitted);
  EXPECT_EQ(event_id_at(frame.room.data() + kFrameHeaderBytes).digest, some_digest());
}

TEST(FrameBytes, FirstRecordOfABatchWithAnEventId) {
  const Frame frame =
      make_frame({15, kTime, 7, 4, FrameKind::batch_record_with_id, 0}, 8192 + 128, {}, "");
  EXPECT_EQ(hex(frame.bytes()), same("48000000 11fb57a2 0f000000 00000000"
                                     "77665544 33221100 07000000 04003100"
                                     "e0e1e2e3 e4e5e6e7 e8e9eaeb ecedeeef"
                                     "eeffc000 00000000 d0d1d2d3 d4d5d6d7"
                                     "d8d9dadb dcdddedf"));
  const FrameLook look = frame.look();
  EXPECT_EQ(look.state, FrameState::valid);
  EXPECT_TRUE(look.is_record() && look.has_event_id() && look.goes_on());
  EXPECT_EQ(look.key_bytes, 40u);
}

TEST(FrameBytes, KindsAndSizes) {
  EXPECT_EQ(static_cast<int>(FrameKind::record), 0x01);
  EXPECT_EQ(static_cast<int>(FrameKind::padding), 0x02);
  EXPECT_EQ(static_cast<int>(FrameKind::epoch_start), 0x03);
  EXPECT_EQ(static_cast<int>(FrameKind::batch_record), 0x11);
  EXPECT_EQ(static_cast<int>(FrameKind::record_with_id), 0x21);
  EXPECT_EQ(static_cast<int>(FrameKind::batch_record_with_id), 0x31);
  EXPECT_EQ(kPaddingSize, 32u);
  EXPECT_EQ(kEpochFrameSize, 40u);
  EXPECT_EQ(frame_span(32), 32u);
  EXPECT_EQ(frame_span(33), 64u);
  EXPECT_EQ(max_frame_size(std::uint64_t{1} << 20), (std::uint64_t{1} << 20) - 4096);
}

TEST(FrameBytes, AHeaderOfZerosIsNothing) {
  const Room zeros(64);
  EXPECT_EQ(check_frame(zeros.data(), 64, 4096, {frame_crc_seed(kSalt), 0, 0}).state,
            FrameState::empty);
}

}  // namespace
}  // namespace tailrace::test
