#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tailrace/lease.h"
#include "tailrace/writer.h"

/// Requests as bytes, behind an EntryHead in the submission ring or alone in a memory file.
/// Format: docs/format.md#serving
namespace tailrace {

/// The most that a request may ask, so that its judgement takes milliseconds at most.
inline constexpr std::size_t kMaxConditions = 4096;
inline constexpr std::size_t kMaxQueryItems = 4096;   // of all its queries together
inline constexpr std::size_t kMaxQueryKeys = 4096;    // likewise
inline constexpr std::size_t kMaxQueryTypes = 65536;  // likewise

/// How many bytes a request takes; 0: it cannot be put into bytes (4 GiB and more, more than it may
/// ask, 255 keys in a record, keys beyond 65535 bytes).
[[nodiscard]] std::uint64_t encoded_bytes(const Request& request) noexcept;
/// Writes them; `to` takes encoded_bytes(request), which is not 0, and is aligned to 8.
void encode_request(const Request& request, std::byte* to) noexcept;

/// One of the conditions in a request's bytes, without its query; points into them. Nothing if
/// there is none.
[[nodiscard]] std::optional<Condition> condition_at(Bytes bytes, std::uint32_t index) noexcept;

/// A request put together from bytes. It is used again and again, and in the end allocates nothing
/// but for queries.
class DecodedRequest {
 public:
  /// The request points into `bytes` (aligned to 8), which must stay and not change, and into this
  /// object, until the next decode. Every length is checked; whether keys are allowed, and the
  /// like, is the writer's to say. Errors: invalid_argument (no request has these bytes).
  [[nodiscard]] Result<void> decode(Bytes bytes);
  [[nodiscard]] const Request& request() const noexcept { return request_; }
  /// For who sets limits to what a request says.
  [[nodiscard]] std::vector<RecordInput>& records() noexcept { return records_; }

 private:
  Request request_;
  std::vector<RecordInput> records_;
  std::vector<Condition> conditions_;
  std::vector<std::string_view> keys_;
  std::vector<Query> queries_;
};

/// A request about a lease.
struct LeaseRequest {
  std::string_view name;
  std::string_view holder{};  // acquire
  std::int64_t ttl_ns = 0;    // acquire
  LeaseToken token{};         // renew, release
};

[[nodiscard]] std::uint64_t encoded_bytes(const LeaseRequest& request) noexcept;
void encode_lease(const LeaseRequest& request, std::byte* to) noexcept;
/// Points into `bytes`. Errors: invalid_argument.
[[nodiscard]] Result<LeaseRequest> decode_lease(Bytes bytes);

}  // namespace tailrace
