#include "serve/request_codec.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/bytes.h"

namespace tailrace {
namespace {

struct RequestHead {
  std::uint8_t event_id[16];
  std::uint32_t records;
  std::uint16_t conditions;
  std::uint8_t has_event_id;
  std::uint8_t reserved[9];
};
static_assert(sizeof(RequestHead) == 32);

struct ConditionHead {  // then the key, then the query, each padded to 8
  std::uint64_t number;
  std::uint64_t epoch;
  std::uint32_t query_items;
  std::uint16_t key_bytes;
  std::uint8_t kind;
  std::uint8_t has_query;
};
static_assert(sizeof(ConditionHead) == 24);

struct ItemHead {  // then the types, then the keys, together padded to 8
  std::uint32_t types;
  std::uint32_t keys;
};

struct RecordHead {  // then the keys, together padded to 8, then the payload, padded to 8
  std::int64_t timestamp_ns;
  std::uint32_t type;
  std::uint32_t payload_bytes;
  std::uint8_t keys;
  std::uint8_t releases;
  std::uint8_t reserved[6];
};
static_assert(sizeof(RecordHead) == 24);

struct LeaseHead {  // then the name, then the holder
  std::int64_t ttl_ns;
  std::uint64_t token_epoch;
  std::uint64_t token_sequence;
  std::uint32_t name_bytes;
  std::uint32_t holder_bytes;
};
static_assert(sizeof(LeaseHead) == 32);

constexpr std::uint64_t kMaxBytes = std::numeric_limits<std::uint32_t>::max();

std::uint64_t item_bytes(const QueryItem& item) noexcept {
  std::uint64_t bytes = sizeof(ItemHead) + item.types.size() * 4;
  for (const std::string& key : item.keys) bytes += 2 + key.size();
  return align_up(bytes, 8);
}

std::uint64_t keys_bytes(const RecordInput& record) noexcept {
  std::uint64_t bytes = 0;
  for (const std::string_view key : record.keys) bytes += 2 + key.size();
  return align_up(bytes, 8);
}

/// What a request's queries may still ask.
struct QueryBudget {
  std::size_t items = kMaxQueryItems;
  std::size_t keys = kMaxQueryKeys;
  std::size_t types = kMaxQueryTypes;

  /// False: it is more than is left.
  [[nodiscard]] bool take(std::size_t item_count, std::size_t key_count,
                          std::size_t type_count) noexcept {
    if (item_count > items || key_count > keys || type_count > types) return false;
    items -= item_count;
    keys -= key_count;
    types -= type_count;
    return true;
  }
};

bool fits(const Condition& condition, QueryBudget& budget) noexcept {
  if (condition.key.size() > kMaxKeyBytes) return false;
  if (condition.query == nullptr) return true;
  for (const QueryItem& item : *condition.query) {
    if (!budget.take(1, item.keys.size(), item.types.size())) return false;
    for (const std::string& key : item.keys) {
      if (key.size() > kMaxKeyBytes) return false;
    }
  }
  return true;
}

bool fits(const RecordInput& record) noexcept {
  if (record.payload.size() > kMaxBytes || record.keys.size() > kMaxKeys) return false;
  if (record.releases > record.keys.size()) return false;
  for (const std::string_view key : record.keys) {
    if (key.size() > kMaxKeyBytes) return false;
  }
  return true;
}

/// Writes one thing behind the other.
class Encoder {
 public:
  explicit Encoder(std::byte* to) noexcept : at_(to) {}
  template <class T>
  void put(const T& value) noexcept {
    put(&value, sizeof value);
  }
  void put(const void* from, std::size_t bytes) noexcept {
    if (bytes > 0) std::memcpy(at_, from, bytes);
    at_ += bytes;
  }
  void put_key(std::string_view key) noexcept {
    put(static_cast<std::uint16_t>(key.size()));
    put(key.data(), key.size());
  }
  /// Zeros up to a multiple of 8 bytes since `from`.
  void pad(const std::byte* from) noexcept {
    while ((at_ - from) % 8 != 0) *at_++ = std::byte{0};
  }
  [[nodiscard]] const std::byte* at() const noexcept { return at_; }

 private:
  std::byte* at_;
};

/// Reads one thing behind the other, and never beyond the end.
class Decoder {
 public:
  explicit Decoder(Bytes bytes) noexcept : bytes_(bytes) {}
  template <class T>
  [[nodiscard]] bool get(T& value) noexcept {
    if (left() < sizeof value) return false;
    std::memcpy(&value, bytes_.data() + at_, sizeof value);
    at_ += sizeof value;
    return true;
  }
  [[nodiscard]] bool get(std::uint64_t size, std::string_view& text) noexcept {
    if (left() < size) return false;
    text = {reinterpret_cast<const char*>(bytes_.data()) + at_, static_cast<std::size_t>(size)};
    at_ += size;
    return true;
  }
  [[nodiscard]] bool get_key(std::string_view& key) noexcept {
    std::uint16_t size = 0;
    return get(size) && get(size, key);
  }
  [[nodiscard]] bool pad() noexcept {
    const std::uint64_t padded = align_up(at_, 8);
    if (padded > bytes_.size()) return false;
    at_ = padded;
    return true;
  }
  [[nodiscard]] std::uint64_t left() const noexcept { return bytes_.size() - at_; }

 private:
  Bytes bytes_;
  std::uint64_t at_ = 0;
};

bool decode_item(Decoder& from, QueryItem& item, QueryBudget& budget) {
  ItemHead head{};
  // Each type and key takes bytes: a number that they could not take is not believed.
  if (!from.get(head) || head.types > from.left() / 4) return false;
  if (!budget.take(1, head.keys, head.types)) return false;
  item.types.resize(head.types);
  for (std::uint32_t& type : item.types) {
    if (!from.get(type)) return false;
  }
  if (head.keys > from.left() / 2) return false;
  for (std::uint32_t i = 0; i < head.keys; ++i) {
    std::string_view key;
    if (!from.get_key(key)) return false;
    item.keys.emplace_back(key);
  }
  return from.pad();
}

bool decode_condition(Decoder& from, Condition& condition, std::vector<Query>& queries,
                      QueryBudget& budget) {
  ConditionHead head{};
  if (!from.get(head)) return false;
  if (head.kind > static_cast<std::uint8_t>(ConditionKind::fence)) return false;
  condition.kind = static_cast<ConditionKind>(head.kind);
  condition.number = head.number;
  condition.epoch = head.epoch;
  condition.query = nullptr;
  if (!from.get(head.key_bytes, condition.key) || !from.pad()) return false;
  if (head.has_query != (condition.kind == ConditionKind::no_match ? 1 : 0)) return false;
  if (head.has_query == 0) return head.query_items == 0;
  if (head.query_items > budget.items) return false;
  Query& query = queries.emplace_back();  // there is room: see decode
  for (std::uint32_t i = 0; i < head.query_items; ++i) {
    if (!decode_item(from, query.emplace_back(), budget)) return false;
  }
  condition.query = &query;
  return true;
}

/// The keys go into `keys`, which has room.
bool decode_record(Decoder& from, RecordInput& record, std::vector<std::string_view>& keys) {
  RecordHead head{};
  if (!from.get(head) || head.releases > head.keys) return false;
  record.timestamp_ns = head.timestamp_ns;
  record.type = head.type;
  record.releases = head.releases;
  const std::size_t first = keys.size();
  for (std::uint8_t i = 0; i < head.keys; ++i) {
    if (!from.get_key(keys.emplace_back())) return false;
  }
  std::string_view payload;
  if (!from.pad() || !from.get(head.payload_bytes, payload) || !from.pad()) return false;
  record.keys = {keys.data() + first, head.keys};
  record.payload = as_bytes(payload);
  return true;
}

Error malformed() {
  return {errc::invalid_argument, "the bytes of the request are none that a client writes"};
}

}  // namespace

std::uint64_t encoded_bytes(const Request& request) noexcept {
  if (request.conditions.size() > kMaxConditions) return 0;
  QueryBudget budget;
  std::uint64_t bytes = sizeof(RequestHead);
  for (const Condition& condition : request.conditions) {
    if (!fits(condition, budget)) return 0;
    bytes += sizeof(ConditionHead) + align_up(condition.key.size(), 8);
    if (condition.query != nullptr) {
      for (const QueryItem& item : *condition.query) bytes += item_bytes(item);
    }
  }
  for (const RecordInput& record : request.records) {
    if (!fits(record)) return 0;
    bytes += sizeof(RecordHead) + keys_bytes(record) + align_up(record.payload.size(), 8);
  }
  return bytes <= kMaxBytes ? bytes : 0;
}

void encode_request(const Request& request, std::byte* const begin) noexcept {
  Encoder to(begin);
  RequestHead head{};
  if (request.event_id) {
    std::memcpy(head.event_id, request.event_id->bytes.data(), sizeof head.event_id);
    head.has_event_id = 1;
  }
  head.records = static_cast<std::uint32_t>(request.records.size());
  head.conditions = static_cast<std::uint16_t>(request.conditions.size());
  to.put(head);
  for (const Condition& condition : request.conditions) {
    const Query* const query = condition.query;
    to.put(ConditionHead{condition.number, condition.epoch,
                         query == nullptr ? 0 : static_cast<std::uint32_t>(query->size()),
                         static_cast<std::uint16_t>(condition.key.size()),
                         static_cast<std::uint8_t>(condition.kind),
                         static_cast<std::uint8_t>(query != nullptr)});
    to.put(condition.key.data(), condition.key.size());
    to.pad(begin);
    if (query == nullptr) continue;
    for (const QueryItem& item : *query) {
      to.put(ItemHead{static_cast<std::uint32_t>(item.types.size()),
                      static_cast<std::uint32_t>(item.keys.size())});
      to.put(item.types.data(), item.types.size() * 4);
      for (const std::string& key : item.keys) to.put_key(key);
      to.pad(begin);
    }
  }
  for (const RecordInput& record : request.records) {
    to.put(RecordHead{record.timestamp_ns,
                      record.type,
                      static_cast<std::uint32_t>(record.payload.size()),
                      static_cast<std::uint8_t>(record.keys.size()),
                      static_cast<std::uint8_t>(record.releases),
                      {}});
    for (const std::string_view key : record.keys) to.put_key(key);
    to.pad(begin);
    to.put(record.payload.data(), record.payload.size());
    to.pad(begin);
  }
}

std::optional<Condition> condition_at(Bytes bytes, std::uint32_t index) noexcept {
  Decoder from(bytes);
  RequestHead request{};
  if (!from.get(request) || index >= request.conditions) return std::nullopt;
  for (;; --index) {
    ConditionHead head{};
    Condition condition;
    if (!from.get(head) || !from.get(head.key_bytes, condition.key) || !from.pad() ||
        head.kind > static_cast<std::uint8_t>(ConditionKind::fence)) {
      return std::nullopt;
    }
    condition.kind = static_cast<ConditionKind>(head.kind);
    condition.number = head.number;
    condition.epoch = head.epoch;
    if (index == 0) return condition;
    for (std::uint32_t item = 0; item < head.query_items; ++item) {
      ItemHead its{};
      std::string_view skipped;
      if (!from.get(its) || !from.get(std::uint64_t{its.types} * 4, skipped)) return std::nullopt;
      for (std::uint32_t key = 0; key < its.keys; ++key) {
        if (!from.get_key(skipped)) return std::nullopt;
      }
      if (!from.pad()) return std::nullopt;
    }
  }
}

Result<void> DecodedRequest::decode(Bytes bytes) {
  Decoder from(bytes);
  RequestHead head{};
  request_ = {};  // what it pointed to goes
  records_.clear();
  conditions_.clear();
  keys_.clear();
  queries_.clear();
  if (!from.get(head) || head.has_event_id > 1) return fail(malformed());
  if (head.conditions > std::min(from.left() / sizeof(ConditionHead), kMaxConditions)) {
    return fail(malformed());
  }
  conditions_.resize(head.conditions);
  queries_.reserve(head.conditions);  // conditions point to them: they must not move
  QueryBudget budget;
  for (Condition& condition : conditions_) {
    if (!decode_condition(from, condition, queries_, budget)) return fail(malformed());
  }
  if (head.records > from.left() / sizeof(RecordHead)) return fail(malformed());
  records_.resize(head.records);
  // A key takes at least two bytes: so many there can be. Records point to them.
  const std::uint64_t most = std::min<std::uint64_t>(from.left() / 2, head.records * kMaxKeys);
  if (keys_.capacity() < most) keys_.reserve(most);
  for (RecordInput& record : records_) {
    if (!decode_record(from, record, keys_)) return fail(malformed());
  }
  if (from.left() != 0) return fail(malformed());
  request_ = {records_, conditions_, {}};
  if (head.has_event_id != 0) {
    std::memcpy(request_.event_id.emplace().bytes.data(), head.event_id, sizeof head.event_id);
  }
  return {};
}

std::uint64_t encoded_bytes(const LeaseRequest& request) noexcept {
  const std::uint64_t bytes = sizeof(LeaseHead) + request.name.size() + request.holder.size();
  return bytes <= kMaxBytes ? align_up(bytes, 8) : 0;
}

void encode_lease(const LeaseRequest& request, std::byte* begin) noexcept {
  Encoder to(begin);
  to.put(LeaseHead{request.ttl_ns, request.token.epoch, request.token.sequence,
                   static_cast<std::uint32_t>(request.name.size()),
                   static_cast<std::uint32_t>(request.holder.size())});
  to.put(request.name.data(), request.name.size());
  to.put(request.holder.data(), request.holder.size());
  to.pad(begin);
}

Result<LeaseRequest> decode_lease(Bytes bytes) {
  Decoder from(bytes);
  LeaseHead head{};
  LeaseRequest request;
  if (!from.get(head) || !from.get(head.name_bytes, request.name) ||
      !from.get(head.holder_bytes, request.holder) || !from.pad() || from.left() != 0) {
    return fail(malformed());
  }
  request.ttl_ns = head.ttl_ns;
  request.token = {head.token_epoch, head.token_sequence};
  return request;
}

}  // namespace tailrace
