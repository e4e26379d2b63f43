// A request comes out as it went in; of any other bytes nothing worse than an error.

#include "serve/request_codec.h"

#include <gtest/gtest.h>

#include <deque>

#include "common/damage.h"

namespace tailrace::test {
namespace {

/// A request with all that it points to.
struct Made {
  std::deque<std::string> texts;
  std::deque<std::vector<std::string_view>> keys;
  std::deque<Query> queries;
  std::vector<RecordInput> records;
  std::vector<Condition> conditions;
  Request request;
};

class Maker {
 public:
  explicit Maker(std::uint64_t seed) : random_(seed) {}
  std::uint64_t below(std::uint64_t limit) { return random_() % limit; }
  std::string text(std::uint64_t most) {
    std::string text(below(most + 1), '\0');
    for (char& c : text) c = static_cast<char>(random_());
    return text;
  }
  void make(Made& made) {
    for (std::uint64_t i = below(5); i > 0; --i) {
      const std::string& key = made.texts.emplace_back(text(40));
      Condition condition{static_cast<ConditionKind>(below(7)), key, random_()};
      if (condition.kind == ConditionKind::no_match) {
        condition.query = &made.queries.emplace_back(query());
      }
      condition.epoch = random_();
      made.conditions.push_back(condition);
    }
    for (std::uint64_t i = below(6); i > 0; --i) {
      RecordInput record{as_bytes(made.texts.emplace_back(text(300))),
                         static_cast<std::uint32_t>(random_())};
      auto& keys = made.keys.emplace_back();
      for (std::uint64_t k = below(8); k > 0; --k) {
        keys.push_back(made.texts.emplace_back(text(below(20) == 0 ? 65535 : 30)));
      }
      record.keys = keys;
      record.releases = below(keys.size() + 1);
      record.timestamp_ns = static_cast<std::int64_t>(random_());
      made.records.push_back(record);
    }
    made.request = {made.records, made.conditions, {}};
    if (below(2) == 0) made.request.event_id.emplace().bytes[3] = 7;
  }
  std::mt19937_64& random() { return random_; }

 private:
  Query query() {
    Query query(below(4));
    for (QueryItem& item : query) {
      for (std::uint64_t i = below(4); i > 0; --i) item.types.push_back(7);
      for (std::uint64_t i = below(4); i > 0; --i) item.keys.push_back(text(20));
    }
    return query;
  }
  std::mt19937_64 random_;
};

std::vector<std::byte> encoded(const Request& request) {
  std::vector<std::byte> bytes(encoded_bytes(request));
  encode_request(request, bytes.data());
  return bytes;
}

void expect_equal(const Request& a, const Request& b) {
  EXPECT_EQ(a.event_id, b.event_id);
  ASSERT_EQ(a.conditions.size(), b.conditions.size());
  for (std::size_t i = 0; i < a.conditions.size(); ++i) {
    const Condition& x = a.conditions[i];
    const Condition& y = b.conditions[i];
    EXPECT_EQ(x.kind, y.kind);
    EXPECT_EQ(x.key, y.key);
    EXPECT_EQ(x.number, y.number);
    EXPECT_EQ(x.epoch, y.epoch);
    ASSERT_EQ(x.query == nullptr, y.query == nullptr);
    if (x.query == nullptr) continue;
    ASSERT_EQ(x.query->size(), y.query->size());
    for (std::size_t k = 0; k < x.query->size(); ++k) {
      EXPECT_EQ((*x.query)[k].types, (*y.query)[k].types);
      EXPECT_EQ((*x.query)[k].keys, (*y.query)[k].keys);
    }
  }
  ASSERT_EQ(a.records.size(), b.records.size());
  for (std::size_t i = 0; i < a.records.size(); ++i) {
    const RecordInput& x = a.records[i];
    const RecordInput& y = b.records[i];
    EXPECT_EQ(as_text(x.payload), as_text(y.payload));
    EXPECT_EQ(x.type, y.type);
    EXPECT_EQ(x.timestamp_ns, y.timestamp_ns);
    EXPECT_EQ(x.releases, y.releases);
    EXPECT_TRUE(std::equal(x.keys.begin(), x.keys.end(), y.keys.begin(), y.keys.end()));
  }
}

TEST(RequestCodec, ARequestComesOutAsItWentIn) {
  Maker maker(run_seed());
  DecodedRequest decoded;
  for (int round = 0; round < 2'000; ++round) {
    Made made;
    maker.make(made);
    const auto bytes = encoded(made.request);
    ASSERT_EQ(bytes.size() % 8, 0u);
    const auto done = decoded.decode(bytes);
    ASSERT_TRUE(done) << done.error().message();
    expect_equal(made.request, decoded.request());
    if (HasFatalFailure()) return;
  }
}

TEST(RequestCodec, AnyOtherBytesAreRefusedOrAreARequest) {
  Maker maker(run_seed());
  DecodedRequest decoded;
  std::uint64_t refused = 0;
  for (std::uint64_t round = 0; round < times(20'000); ++round) {
    Made made;
    maker.make(made);
    auto bytes = encoded(made.request);
    if (maker.below(2) == 0) bytes.resize(maker.below(bytes.size() + 1));
    for (std::uint64_t i = maker.below(4); i > 0 && !bytes.empty(); --i) {
      bytes[maker.below(std::min<std::size_t>(bytes.size(), 128))] =
          static_cast<std::byte>(maker.random()());
    }
    // Right at the end of its memory, for ASan.
    const std::vector<std::byte> exact(bytes);
    if (!decoded.decode(exact)) {
      ++refused;
      continue;
    }
    // It says the same when it is put into bytes again.
    ASSERT_EQ(encoded_bytes(decoded.request()), exact.size());
  }
  EXPECT_GT(refused, 1'000u);
}

TEST(RequestCodec, WhatDoesNotFitIsNotPutIntoBytes) {
  const std::string long_key(65536, 'k');
  const std::string_view keys[] = {long_key};
  const RecordInput record{{}, 0, keys};
  EXPECT_EQ(encoded_bytes(Request{{&record, 1}}), 0u);
  const std::vector<Condition> many(65536, Condition::exists("k"));
  EXPECT_EQ(encoded_bytes(Request{{}, many}), 0u);
}

TEST(RequestCodec, WhatARequestMayAskIsBounded) {
  const Query keys = {{{}, std::vector<std::string>(kMaxQueryKeys)}};
  const Query too_many = {keys[0], {{}, {""}}};
  const Condition right = Condition::no_match(keys, 0);
  const Condition wrong = Condition::no_match(too_many, 0);
  EXPECT_NE(encoded_bytes(Request{{}, {&right, 1}}), 0u);
  EXPECT_EQ(encoded_bytes(Request{{}, {&wrong, 1}}), 0u);
  // In bytes that no client writes: the same condition once more.
  auto bytes = encoded(Request{{}, {&right, 1}});
  DecodedRequest decoded;
  ASSERT_TRUE(decoded.decode(bytes));
  constexpr std::size_t kHead = 32;
  constexpr std::size_t kConditionsAt = 20;
  const std::vector<std::byte> again(bytes.begin() + kHead, bytes.end());
  bytes.insert(bytes.end(), again.begin(), again.end());
  bytes[kConditionsAt] = std::byte{2};
  EXPECT_FALSE(decoded.decode(bytes));
}

TEST(RequestCodec, LeaseRequestsToo) {
  const LeaseRequest request{"leader", "host-7", 5'000'000'000, {3, 9}};
  std::vector<std::byte> bytes(encoded_bytes(request));
  encode_lease(request, bytes.data());
  const auto decoded = decode_lease(bytes);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->name, "leader");
  EXPECT_EQ(decoded->holder, "host-7");
  EXPECT_EQ(decoded->ttl_ns, 5'000'000'000);
  EXPECT_EQ(decoded->token, (LeaseToken{3, 9}));
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(decode_lease({bytes.data(), size})) << size;
  }
}

}  // namespace
}  // namespace tailrace::test
