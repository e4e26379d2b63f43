#include "cli/print_format.h"

namespace tailrace::cli {
namespace {

std::optional<char> escaped(char c) {
  switch (c) {
    case 'n': return '\n';
    case 't': return '\t';
    case '0': return '\0';
    case '\\': return '\\';
    default: return std::nullopt;
  }
}

void print_keys(Output& out, const KeyRange& keys) {
  bool first = true;
  for (const KeyView& key : keys) {
    if (!first) out.put(',');
    first = false;
    out.put(key.bytes);
  }
}

}  // namespace

std::optional<PrintFormat> PrintFormat::parse(std::string_view text) {
  PrintFormat format;
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%' && text[i] != '\\') {
      plain += text[i];
      continue;
    }
    const char lead = text[i++];
    if (i == text.size()) return std::nullopt;
    if (lead == '\\') {
      const auto c = escaped(text[i]);
      if (!c) return std::nullopt;
      plain += *c;
      continue;
    }
    Field field = Field::none;
    switch (text[i]) {
      case '%': plain += '%'; continue;
      case 's': field = Field::sequence; break;
      case 't': field = Field::type; break;
      case 'T': field = Field::timestamp_ns; break;
      case 'k': field = Field::keys; break;
      case 'p': field = Field::payload; break;
      default: return std::nullopt;
    }
    format.pieces_.push_back({std::move(plain), field});
    plain.clear();
  }
  format.pieces_.push_back({std::move(plain), Field::none});
  return format;
}

void PrintFormat::print(Output& out, const RecordView& record) const {
  for (const Piece& piece : pieces_) {
    out.put(piece.text);
    switch (piece.field) {
      case Field::none: break;
      case Field::sequence: out.put_number(record.sequence); break;
      case Field::type: out.put_number(record.type); break;
      case Field::timestamp_ns: out.put_number(record.timestamp_ns); break;
      case Field::keys: print_keys(out, record.keys); break;
      case Field::payload: out.put(as_text(record.payload)); break;
    }
  }
}

}  // namespace tailrace::cli
