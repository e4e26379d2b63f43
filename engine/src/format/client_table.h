#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "format/log_meta.h"
#include "tailrace/server.h"

namespace tailrace {

/// The file in which a server tells of its clients: a header, then slots of fixed size. Nothing
/// rests on it: it is for people to look at, and another server makes it anew.
/// Format: docs/format.md#client-table
inline constexpr std::uint64_t kClientTableMagic = 0x31544C43434C5254;  // "TRLCCLT1"
inline constexpr std::uint32_t kClientTableVersion = 0;

struct ClientTableHeader {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t slots;
  std::uint64_t epoch;  // of the server's writer
  std::uint8_t log_id[16];
  std::uint8_t reserved[88];
};
static_assert(sizeof(ClientTableHeader) == 128);

/// A client, or none (client = 0). Words, since each is stored and loaded as one.
struct ClientSlot {
  std::uint64_t turn;  // odd while it is written
  std::uint64_t client;
  std::uint64_t pid;
  std::uint64_t uid;
  std::uint64_t requests;
  std::uint64_t records;
  std::uint64_t bytes;
  std::uint64_t conflicts;
  std::uint64_t duplicates;
  std::uint64_t errors;
  std::uint64_t in_flight;
  std::uint64_t stalled;
  std::uint64_t connected_ns;
  std::uint64_t reserved[3];
};
static_assert(sizeof(ClientSlot) == 128);

[[nodiscard]] constexpr std::size_t client_table_bytes(std::size_t slots) noexcept {
  return sizeof(ClientTableHeader) + slots * sizeof(ClientSlot);
}

/// The writer's side; slots are zero beforehand.
void init_client_table(std::byte* table, const LogMeta& meta, Epoch epoch,
                       std::uint32_t slots) noexcept;
/// `info.client` = 0 empties the slot.
void write_client_slot(std::byte* table, std::size_t slot, const ClientInfo& info) noexcept;

/// How many slots there are, if this is the table of the log's server with this epoch; else 0.
/// `size_bytes`: of the file.
[[nodiscard]] std::size_t client_table_slots(const std::byte* table, std::size_t size_bytes,
                                             const LogMeta& meta, Epoch epoch) noexcept;
/// The client in a slot; nothing: it is empty, or changes all the time.
[[nodiscard]] std::optional<ClientInfo> read_client_slot(const std::byte* table,
                                                         std::size_t slot) noexcept;

}  // namespace tailrace
