#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace demo {

/// One number for a whole stream of records: sequence, type, keys and payload of each, in order.
/// A record that is missing, doubled, changed or in another place gives another number. It guards
/// against accidents, not against somebody who wants a collision. The state is the number itself,
/// so a reader can save it and go on from there.
class Digest {
 public:
  Digest() = default;
  explicit Digest(std::uint64_t value) : value_(value) {}

  /// Starts a record; its keys and its payload follow.
  void begin(std::uint64_t sequence, std::uint32_t type, std::size_t keys) {
    mix(sequence);
    mix((std::uint64_t{type} << 32) | keys);
  }

  void add(std::string_view bytes) {
    mix(bytes.size());
    while (bytes.size() >= 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, bytes.data(), 8);
      mix(word);
      bytes.remove_prefix(8);
    }
    std::uint64_t rest = 0;
    std::memcpy(&rest, bytes.data(), bytes.size());
    mix(rest);
  }

  [[nodiscard]] std::uint64_t value() const { return value_; }
  friend bool operator==(const Digest&, const Digest&) = default;

 private:
  // Each step is a bijection of the state and of the word: one changed word always changes it.
  void mix(std::uint64_t word) {
    value_ = (std::rotl(value_, 29) ^ word) * 0x9E3779B97F4A7C15u;
    value_ ^= value_ >> 32;
  }

  std::uint64_t value_ = 0x243F6A8885A308D3u;
};

}  // namespace demo
