// Bytes as a request, or, with flag 1, as a request about a lease. What is accepted says the same
// when it is put into bytes again, and points nowhere but into what was given.

#include <vector>

#include "fuzz/target.h"
#include "serve/request_codec.h"

namespace tailrace::fuzz {
namespace {

void require_inside(Bytes all, const void* at, std::size_t size) {
  if (size == 0) return;
  const auto* const from = static_cast<const std::byte*>(at);
  TAILRACE_REQUIRE(from >= all.data() && from + size <= all.data() + all.size());
}

void check_request(Bytes bytes) {
  static DecodedRequest decoded;  // used again and again, as the server does
  if (!decoded.decode(bytes)) return;
  const Request& request = decoded.request();
  TAILRACE_REQUIRE(encoded_bytes(request) == bytes.size());
  for (const RecordInput& record : request.records) {
    TAILRACE_REQUIRE(record.releases <= record.keys.size());
    require_inside(bytes, record.payload.data(), record.payload.size());
    for (const std::string_view key : record.keys) require_inside(bytes, key.data(), key.size());
  }
  for (const Condition& condition : request.conditions) {
    require_inside(bytes, condition.key.data(), condition.key.size());
    TAILRACE_REQUIRE((condition.query != nullptr) == (condition.kind == ConditionKind::no_match));
  }
  // Once in the form that a client writes, it comes back as it is.
  std::vector<std::byte> again(bytes.size());
  encode_request(request, again.data());
  static DecodedRequest twice;
  TAILRACE_REQUIRE(twice.decode(again));
  std::vector<std::byte> third(bytes.size());
  encode_request(twice.request(), third.data());
  TAILRACE_REQUIRE(again == third);
}

void check_lease(Bytes bytes) {
  const auto decoded = decode_lease(bytes);
  if (!decoded) return;
  require_inside(bytes, decoded->name.data(), decoded->name.size());
  require_inside(bytes, decoded->holder.data(), decoded->holder.size());
  TAILRACE_REQUIRE(encoded_bytes(*decoded) == bytes.size());
}

void run(Input input) {
  const std::uint8_t flags = input.byte();
  // In memory of exactly that size, for ASan.
  const std::vector<std::byte> bytes = [&] {
    std::vector<std::byte> all(input.left());
    input.take(all.data(), all.size());
    return all;
  }();
  if ((flags & 1) != 0) return check_lease(bytes);
  check_request(bytes);
}

}  // namespace
}  // namespace tailrace::fuzz

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  tailrace::fuzz::run({data, size});
  return 0;
}
