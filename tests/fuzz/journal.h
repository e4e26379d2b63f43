#pragma once

#include <cstddef>
#include <cstdint>

/// An input of the target `journal`: flags, then block after block of the journal, of each only its
/// first bytes; the rest of a block is zero.
namespace tailrace::fuzz::journal_input {

inline constexpr std::uint8_t kRightAnchors = 1;    // log id, size, checksum of what has the magic
inline constexpr std::uint8_t kRightChain = 2;      // nonce, number, predecessor of each entry
inline constexpr std::uint8_t kRightPositions = 4;  // each entry begins where its predecessor ended
inline constexpr std::uint8_t kRightCrc = 8;        // checksums of entries

inline constexpr std::size_t kBytesPerBlock = 192;

}  // namespace tailrace::fuzz::journal_input
