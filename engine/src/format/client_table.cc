#include "format/client_table.h"

#include <atomic>
#include <cstring>

namespace tailrace {
namespace {

constexpr std::size_t kSlotWords = sizeof(ClientSlot) / sizeof(std::uint64_t);

const std::byte* slot_at(const std::byte* table, std::size_t slot) noexcept {
  return table + sizeof(ClientTableHeader) + slot * sizeof(ClientSlot);
}

}  // namespace

void init_client_table(std::byte* table, const LogMeta& meta, Epoch epoch,
                       std::uint32_t slots) noexcept {
  ClientTableHeader header{};
  header.magic = kClientTableMagic;
  header.version = kClientTableVersion;
  header.slots = slots;
  header.epoch = epoch;
  std::memcpy(header.log_id, meta.log_id, sizeof header.log_id);
  std::memcpy(table, &header, sizeof header);
}

void write_client_slot(std::byte* table, std::size_t slot, const ClientInfo& info) noexcept {
  const ClientSlot filled{0,
                          info.client,
                          static_cast<std::uint64_t>(info.pid),
                          info.uid,
                          info.requests,
                          info.records,
                          info.bytes,
                          info.conflicts,
                          info.duplicates,
                          info.errors,
                          info.in_flight,
                          info.stalled ? std::uint64_t{1} : 0,
                          static_cast<std::uint64_t>(info.connected_ns),
                          {}};
  std::uint64_t words[kSlotWords];
  std::memcpy(words, &filled, sizeof words);
  const std::byte* const at = slot_at(table, slot);
  auto turn = shared<std::uint64_t>(at);
  const std::uint64_t before = turn.load(std::memory_order_relaxed);
  turn.store(before + 1, std::memory_order_relaxed);
  for (std::size_t i = 1; i < kSlotWords; ++i) {
    // SYNC client-slot: release, so that who sees a new word sees that the turn is odd, or newer.
    shared<std::uint64_t>(at + i * 8).store(words[i], std::memory_order_release);
  }
  // SYNC client-slot: release; the words are there before the turn is even.
  turn.store(before + 2, std::memory_order_release);
}

std::size_t client_table_slots(const std::byte* table, std::size_t size_bytes, const LogMeta& meta,
                               Epoch epoch) noexcept {
  if (size_bytes < sizeof(ClientTableHeader)) return 0;
  ClientTableHeader header{};
  std::memcpy(&header, table, sizeof header);
  const bool right = header.magic == kClientTableMagic && header.version == kClientTableVersion &&
                     header.epoch == epoch &&
                     std::memcmp(header.log_id, meta.log_id, sizeof header.log_id) == 0;
  if (!right) return 0;
  const std::size_t fit = (size_bytes - sizeof(ClientTableHeader)) / sizeof(ClientSlot);
  return std::min<std::size_t>(header.slots, fit);
}

std::optional<ClientInfo> read_client_slot(const std::byte* table, std::size_t slot) noexcept {
  const std::byte* const at = slot_at(table, slot);
  constexpr int kTries = 1000;
  for (int i = 0; i < kTries; ++i) {
    // SYNC client-slot: acquire; the words are at least as new as this turn.
    const std::uint64_t turn = shared<std::uint64_t>(at).load(std::memory_order_acquire);
    if ((turn & 1) != 0) continue;
    std::uint64_t words[kSlotWords];
    for (std::size_t w = 1; w < kSlotWords; ++w) {
      // SYNC client-slot: acquire, so that the turn is looked at again behind them.
      words[w] = shared<std::uint64_t>(at + w * 8).load(std::memory_order_acquire);
    }
    if (shared<std::uint64_t>(at).load(std::memory_order_relaxed) != turn) continue;
    ClientSlot found{};
    words[0] = turn;
    std::memcpy(&found, words, sizeof found);
    if (found.client == 0) return std::nullopt;
    ClientInfo info;
    info.client = found.client;
    info.pid = static_cast<std::int64_t>(found.pid);
    info.uid = static_cast<std::uint32_t>(found.uid);
    info.requests = found.requests;
    info.records = found.records;
    info.bytes = found.bytes;
    info.conflicts = found.conflicts;
    info.duplicates = found.duplicates;
    info.errors = found.errors;
    info.in_flight = found.in_flight;
    info.stalled = found.stalled != 0;
    info.connected_ns = static_cast<std::int64_t>(found.connected_ns);
    return info;
  }
  return std::nullopt;
}

}  // namespace tailrace
