#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "cli/json_read.h"

namespace tailrace::cli {

/// What makes records of `append`'s input.
struct RequestOptions {
  bool jsonl = false;  ///< each frame is a JSON record or batch; the rest is then unused
  RequestReader::Time time = RequestReader::Time::now;
  std::uint32_t type = 0;
  std::vector<std::string> keys;
  std::vector<std::string> key_fields;
};

/// Turns a frame of the input into what is to be appended.
class Requests {
 public:
  explicit Requests(const RequestOptions& options) : options_(options), json_(options.time) {}

  /// `frame` must be followed by simdjson::SIMDJSON_PADDING readable bytes.
  /// The request and all in it live until the next call, and no longer than the frame.
  [[nodiscard]] tl::expected<Request, Complaint> read(std::string_view frame);

 private:
  const RequestOptions& options_;
  RequestReader json_;
  FieldReader fields_;
  RecordInput record_;
  std::vector<std::string> values_;
  std::vector<std::string_view> keys_;
};

}  // namespace tailrace::cli
