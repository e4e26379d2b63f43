#include "cli/json_write.h"

#include <simdjson.h>

#include <algorithm>
#include <array>

#include "cli/base64.h"

namespace tailrace::cli {
namespace {

// An escaped byte takes up to six characters, and a line over 4 GiB cannot be read back.
constexpr std::size_t kMaxTextBytes = std::size_t{512} << 20;

// 0: as it is. 'u': \u00XX. Else: backslash and this.
constexpr auto kEscapes = [] {
  std::array<char, 256> escapes{};
  std::fill_n(escapes.begin(), 0x20, 'u');
  escapes['"'] = '"';
  escapes['\\'] = '\\';
  escapes['\b'] = 'b';
  escapes['\f'] = 'f';
  escapes['\n'] = 'n';
  escapes['\r'] = 'r';
  escapes['\t'] = 't';
  return escapes;
}();

char escape_of(char c) { return kEscapes[static_cast<unsigned char>(c)]; }

void write_escape(Output& out, char c) {
  constexpr std::string_view kHex = "0123456789abcdef";
  const auto byte = static_cast<unsigned char>(c);
  out.put('\\');
  out.put(escape_of(c));
  if (escape_of(c) != 'u') return;
  out.put("00");
  out.put(kHex[byte >> 4]);
  out.put(kHex[byte & 15]);
}

}  // namespace

bool is_utf8(std::string_view bytes) {
  // Most keys and many payloads are short and plain: no call for them.
  if (bytes.size() <= 16) {
    unsigned char all = 0;
    for (const char c : bytes)
      all = static_cast<unsigned char>(all | static_cast<unsigned char>(c));
    if (all < 0x80) return true;
  }
  return simdjson::validate_utf8(bytes);
}

void write_string(Output& out, std::string_view text) {
  out.put('"');
  while (!text.empty()) {
    const auto special =
        static_cast<std::size_t>(std::find_if(text.begin(), text.end(), escape_of) - text.begin());
    out.put(text.substr(0, special));
    if (special == text.size()) break;
    write_escape(out, text[special]);
    text.remove_prefix(special + 1);
  }
  out.put('"');
}

void write_base64(Output& out, std::string_view bytes) {
  constexpr std::size_t kPieceBytes = Output::kRoomBytes / 4 * 3;
  out.put('"');
  while (!bytes.empty()) {
    const auto piece = bytes.substr(0, kPieceBytes);
    encode_base64(piece, out.room(base64_size(piece.size())));
    out.advance(base64_size(piece.size()));
    bytes.remove_prefix(piece.size());
  }
  out.put('"');
}

void write_key(Output& out, std::string_view key) {
  if (is_utf8(key)) {
    write_string(out, key);
  } else {
    out.put(R"({"base64":)");
    write_base64(out, key);
    out.put('}');
  }
}

namespace {

// The keys that the record releases, or those that it does not. Returns how many.
std::size_t write_keys(Output& out, const KeyRange& keys, bool released) {
  std::size_t count = 0;
  for (const KeyView& key : keys) {
    if (key.released != released) continue;
    if (count == 0) out.put(released ? R"(,"release":[)" : R"(,"keys":[)");
    if (count++ != 0) out.put(',');
    write_key(out, key.bytes);
  }
  if (count != 0) out.put(']');
  return count;
}

}  // namespace

void write_record(Output& out, const RecordView& record, EventIds ids) {
  const auto payload = as_text(record.payload);
  out.put(R"({"sequence":)");
  out.put_number(record.sequence);
  out.put(R"(,"epoch":)");
  out.put_number(record.epoch);
  out.put(R"(,"position":")");
  out.put_number(record.position);
  out.put(R"(","timestamp_ns":")");
  out.put_number(record.timestamp_ns);
  out.put(R"(","type":)");
  out.put_number(record.type);
  if (write_keys(out, record.keys, false) == 0) out.put(R"(,"keys":[])");
  write_keys(out, record.keys, true);
  if (ids == EventIds::yes) {
    if (const auto submitted = record.event_id()) {
      out.put(R"(,"event_id":")");
      out.put(submitted->id.to_string());
      out.put('"');
    }
  }
  out.put(R"(,"size":)");
  out.put_number(payload.size());
  if (payload.size() <= kMaxTextBytes && is_utf8(payload)) {
    out.put(R"(,"encoding":"utf8","data":)");
    write_string(out, payload);
  } else {
    out.put(R"(,"encoding":"base64","data":)");
    write_base64(out, payload);
  }
  out.put("}\n");
}

}  // namespace tailrace::cli
