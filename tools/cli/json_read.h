#pragma once

#include <simdjson.h>
#include <tailrace/condition.h>
#include <tailrace/event_id.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "cli/complaint.h"

namespace tailrace::cli {

/// What a line of `append --jsonl` asks for.
struct Request {
  bool batch = false;                    ///< {"batch":[...]}: all or nothing
  std::span<const RecordInput> records;  ///< one, if not a batch
  std::span<const Condition> conditions{};
  std::optional<EventId> event_id{};
};

/// Reads the lines of `append --jsonl`: JSON records as write_record makes them, and batches of
/// them. Anything it does not know is a complaint, so that no typing error is stored.
/// Format: docs/cli.md#the-json-record
class RequestReader {
 public:
  enum class Time : std::uint8_t { now, keep };
  explicit RequestReader(Time time) : time_(time) {}

  /// `line` must be followed by simdjson::SIMDJSON_PADDING readable bytes.
  /// The request and all in it live until the next call.
  [[nodiscard]] tl::expected<Request, Complaint> read(std::string_view line);

 private:
  using Object = simdjson::dom::object;
  using Element = simdjson::dom::element;
  using Checked = tl::expected<void, Complaint>;

  /// Whether fields stand that are a request's and not a record's.
  enum class Level : std::uint8_t { request, element };

  [[nodiscard]] Checked read_batch(Object line);
  [[nodiscard]] Checked read_record(Object object, Level level);
  [[nodiscard]] Checked read_expect(Element expect);
  [[nodiscard]] Checked read_event_id(Element id);
  [[nodiscard]] Checked read_expected_keys(std::string_view name, Element list, ConditionKind kind);
  [[nodiscard]] Checked read_expected_numbers(std::string_view name, Element map,
                                              ConditionKind kind);
  [[nodiscard]] Checked read_no_match(Element condition);
  [[nodiscard]] Checked read_fence(Element condition);
  [[nodiscard]] Checked read_query_item(Element element);
  [[nodiscard]] Checked read_keys(std::string_view field, Element list,
                                  std::vector<std::string_view>& into);
  [[nodiscard]] tl::expected<std::string_view, Complaint> read_key(Element element);
  [[nodiscard]] static tl::expected<std::uint32_t, Complaint> read_type(Element element);
  [[nodiscard]] tl::expected<std::int64_t, Complaint> read_time(Element element) const;
  /// nullopt: not base64.
  [[nodiscard]] std::optional<std::string_view> decode(std::string_view base64);

  Time time_;
  simdjson::dom::parser parser_;
  std::vector<RecordInput> records_;
  std::vector<Condition> conditions_;
  Query query_;  // of no_match
  std::optional<EventId> event_id_;
  std::vector<std::string_view> keys_;      // of all records, one after the other
  std::vector<std::size_t> key_counts_;     // of each record
  std::vector<std::string_view> released_;  // of one record
  std::string decoded_;                     // base64's bytes; never grows while a line is read
  std::size_t decoded_size_ = 0;
};

/// Takes values of a JSON payload as keys: `append --key-field`.
class FieldReader {
 public:
  /// The value of the field, as a key: a string as it is, true and false by name, an integer in
  /// decimal, any other number as the shortest text that gives the same double.
  /// `payload` must be followed by SIMDJSON_PADDING readable bytes.
  [[nodiscard]] tl::expected<std::string, Complaint> read(std::string_view payload,
                                                          std::string_view field);

 private:
  simdjson::dom::parser parser_;
};

}  // namespace tailrace::cli
