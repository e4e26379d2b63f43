#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "tailrace/types.h"

namespace tailrace {

/// XXH3-128 of a snapshot's body: the low 64 bits, then the high ones, each little endian.
using BodyDigestBytes = std::array<std::uint8_t, 16>;

/// Hashes a body piece by piece. Allocates nothing and calls nobody: a forked child may use it.
class BodyDigest {
 public:
  BodyDigest() noexcept;
  void add(const void* bytes, std::size_t size_bytes) noexcept;
  [[nodiscard]] BodyDigestBytes end() const noexcept;

 private:
  static constexpr std::size_t kStateBytes = 576;
  alignas(64) std::byte state_[kStateBytes];
};

}  // namespace tailrace
