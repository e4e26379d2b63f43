#pragma once

#include <tailrace/record.h>

#include <string_view>

#include "cli/output.h"

namespace tailrace::cli {

/// The JSON record and its parts, written by hand because `read --json` lives on it.
/// Format: docs/cli.md#the-json-record

/// Whether `bytes` are what a JSON string can carry.
[[nodiscard]] bool is_utf8(std::string_view bytes);

/// A JSON string with its quotes. `text` must be UTF-8.
void write_string(Output& out, std::string_view text);

/// base64 in quotes.
void write_base64(Output& out, std::string_view bytes);

/// A key: a string, or {"base64":"..."}.
void write_key(Output& out, std::string_view key);

/// The record as one line, with or without its event id.
enum class EventIds : std::uint8_t { no, yes };
void write_record(Output& out, const RecordView& record, EventIds ids);

}  // namespace tailrace::cli
