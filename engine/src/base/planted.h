#pragma once

#include <cstdint>

namespace tailrace {

/// Deliberate mistakes, to see that the tests notice them. tests/planted/run.py builds the one
/// build that has them (cmake -DTAILRACE_PLANTED=ON), chooses them one at a time by
/// TAILRACE_PLANT=NAME in the environment, and says which test caught which. In every other build
/// planted() is false at compile time: no code, no cost.
///
/// A new one is a line here, `if (!planted(Mistake::name))` at its place, and a line in run.py.
#define TAILRACE_MISTAKES(X)                                                                \
  /* Publishing */                                                                          \
  X(publish_size_before_payload, "a record's size is stored before its payload is copied")  \
  X(publish_batch_first_to_last, "a batch's first frame is published before the others")    \
  X(time_may_fall, "a record takes its time as it is, though the one before was later")     \
  X(claim_not_zeroed_on_abort, "bytes of a claim given back stay behind the end")           \
  X(unfinished_claim_tail_not_zeroed, "what was claimed and not used stays behind the end") \
  /* Validity */                                                                            \
  X(epoch_not_compared, "a record of any epoch is valid")                                   \
  X(crc_without_position, "a frame's checksum does not cover its position")                 \
  X(keep_half_a_batch, "the whole frames of an unfinished batch count as records")

enum class Mistake : std::uint8_t {
  none,
#define TAILRACE_MISTAKE(name, why) name,
  TAILRACE_MISTAKES(TAILRACE_MISTAKE)
#undef TAILRACE_MISTAKE
};

#ifdef TAILRACE_PLANTED
/// What the environment asks for, read once. An unknown name ends the process with a message.
[[nodiscard]] Mistake planted_mistake() noexcept;
/// For a mistake's own code: widens the window in which a race shows it.
void planted_pause(unsigned microseconds) noexcept;

[[nodiscard]] inline bool planted(Mistake mistake) noexcept { return planted_mistake() == mistake; }
#else
constexpr void planted_pause(unsigned) noexcept {}
[[nodiscard]] constexpr bool planted(Mistake) noexcept { return false; }
#endif

}  // namespace tailrace
