#pragma once

#include <cstdint>

/// An input of the target `segment`: flags, the fields of a segment header, frames.
namespace tailrace::fuzz::segment_input {

inline constexpr std::uint8_t kRightHeader = 1;  // header fields are given, all else is put right
inline constexpr std::uint8_t kRightFields = 2;  // sequences and epochs of the frames
inline constexpr std::uint8_t kRightCrc = 4;     // checksums of the frames
inline constexpr std::uint8_t kAtTheEnd = 8;     // a whole segment that ends with the frames

/// first sequence, epoch, previous end, last timestamp
inline constexpr std::size_t kHeaderBytes = 32;
inline constexpr std::uint64_t kSegmentBytes = 65536;
inline constexpr std::uint64_t kNumber = 3;

}  // namespace tailrace::fuzz::segment_input
