#include "sink/dead_letter.h"

#include <fmt/format.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "base/planted.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace tailrace::sink {
namespace {

/// The same for this record and sink whenever it is asked for: it is put there once.
EventId id_for(const Owner& owner, Sequence sequence) {
  std::string named(owner.log_id.bytes.begin(), owner.log_id.bytes.end());
  named += owner.sink;
  for (int i = 0; i < 8; ++i) named += static_cast<char>(sequence >> (8 * i));
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits(named.data(), named.size()));
  EventId id;
  std::memcpy(id.bytes.data(), canonical.digest, id.bytes.size());
  return id;
}

}  // namespace

Result<DeadLetter> DeadLetter::open(const std::string& log, Owner owner) {
  auto client = Client::connect(log);
  if (!client) return fail(client.error());
  return DeadLetter(std::move(*client), std::move(owner));
}

Result<void> DeadLetter::put(const RecordView& record, const std::string& why) {
  const nlohmann::ordered_json about = {{"log_id", owner_.log_id.to_string()},
                                        {"sink", owner_.sink},
                                        {"sequence", record.sequence},
                                        {"epoch", record.epoch},
                                        {"type", record.type},
                                        {"reason", why}};
  const std::string text =
      about.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  // Two records: what is wrong, and what was to be stored, byte for byte.
  std::vector<std::string_view> keys;
  for (const KeyView& key : record.keys) keys.push_back(key.bytes);
  RecordInput inputs[2];
  inputs[0].payload = as_bytes(text);
  inputs[0].keys = keys;
  inputs[1].payload = record.payload;
  inputs[1].type = record.type;
  inputs[1].keys = keys;
  Request request;
  request.records = inputs;
  if (!planted(Mistake::dead_letter_without_id)) {
    request.event_id = id_for(owner_, record.sequence);
  }
  auto done = client_.append(request, Ack::durable);
  // The reason may be told in other words this time; the record is there.
  if (!done && done.error().code() != errc::event_id_reused) return fail(done.error());
  return {};
}

}  // namespace tailrace::sink
