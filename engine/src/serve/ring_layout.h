#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "tailrace/types.h"

/// The memory that a client and the server share. What one side writes the other only reads: the
/// submission ring's file is the client's, the completion ring's and the state's are the server's
/// (clients cannot map them for writing). Nobody reads back what it has written itself.
/// Format: docs/format.md#serving
namespace tailrace {

inline constexpr std::size_t kRingHeaderBytes = 4096;  // each file begins with a page of words
inline constexpr std::uint64_t kMinRingBytes = std::uint64_t{64} << 10;
inline constexpr std::uint64_t kMaxRingBytes = std::uint64_t{64} << 20;
inline constexpr std::uint32_t kMinCompletionSlots = 2;
inline constexpr std::uint32_t kMaxCompletionSlots = 65536;

/// The client's words, at the beginning of the submission ring's file.
struct ClientWords {
  std::uint64_t answers_taken;  // completions that the client has taken so far
  std::uint8_t reserved0[120];
  std::uint32_t asleep;  // it wants a doorbell with the next completion
  std::uint8_t reserved1[124];
};
static_assert(sizeof(ClientWords) == 256);
static_assert(offsetof(ClientWords, asleep) == 128);

/// The server's words for one client, at the beginning of the completion ring's file.
struct ConnectionWords {
  std::uint64_t taken;  // the submission ring is free again up to here
  std::uint8_t reserved[120];
};
static_assert(sizeof(ConnectionWords) == 128);

/// The server's words for all clients.
struct ServerWords {
  std::uint32_t asleep;  // it wants a doorbell with the next request
  std::uint32_t ended;  // 1: it takes nothing more, and what it took is answered; SYNC server-ended
  std::uint8_t reserved[120];
};
static_assert(sizeof(ServerWords) == 128);

/// An entry of the submission ring. Entries begin at multiples of 64 bytes and do not cross the
/// ring's end. Behind the newest one stand four zero bytes where the next will begin.
struct EntryHead {
  std::uint32_t size;  // bytes with this head; the commit word: stored last, with release
  std::uint8_t kind;   // EntryKind
  std::uint8_t ack;    // Ack
  std::uint16_t reserved;
  std::uint64_t ticket;
};
static_assert(sizeof(EntryHead) == 16);

enum class EntryKind : std::uint8_t {
  skip = 0,     // to the ring's end
  append = 1,   // a request follows: request_codec.h
  parcel = 2,   // the request lies in a memory file that came over the socket
  acquire = 3,  // of a lease; a lease request follows
  renew = 4,
  release = 5,
};

/// What became of a request.
enum class AnswerKind : std::uint8_t {
  appended = 1,
  duplicate = 2,
  conflict = 3,
  error = 4,    // code: errc
  granted = 5,  // of a lease
  held = 6,     // by somebody else, or by nobody: not granted
};

/// A slot of the completion ring. What an appended record needs lies in the first line.
struct CompletionSlot {
  std::uint64_t turn;  // counts completions from 1; the commit word: stored last, with release
  std::uint64_t ticket;
  std::uint8_t outcome;  // AnswerKind
  std::uint8_t durable;
  std::uint8_t code;        // errc, of an error
  std::uint8_t released;    // of a conflict
  std::uint32_t condition;  // of a conflict: which of the request's, from 0
  std::uint64_t first_sequence;
  std::uint64_t last_sequence;
  std::uint64_t position;
  std::uint64_t end;
  std::uint64_t decided_at;
  // Of a conflict, an error, a lease.
  std::uint64_t version;       // of the key
  std::uint64_t sequence;      // conflict: of the last record; error: what it speaks of, kUnknown =
                               // nothing; lease: the token's
  std::uint64_t place;         // conflict: position of that record
  std::uint64_t token_epoch;   // lease
  std::uint64_t remaining_ns;  // lease
  std::uint32_t text_bytes;    // error: what went wrong; lease: the holder
  std::uint8_t kind;           // of a conflict: ConditionKind
  std::uint8_t reserved[3];
  char text[144];
};
static_assert(sizeof(CompletionSlot) == 256);
static_assert(offsetof(CompletionSlot, version) == 64);
static_assert(offsetof(CompletionSlot, text) == 112);

}  // namespace tailrace
