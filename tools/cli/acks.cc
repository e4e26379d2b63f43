#include "cli/acks.h"

#include "cli/json_write.h"

namespace tailrace::cli {
namespace {

// A message may quote a file name, and that may be any bytes.
void write_message(Output& out, std::string_view message) {
  if (is_utf8(message)) return write_string(out, message);
  std::string plain(message);
  for (char& c : plain) {
    if (static_cast<unsigned char>(c) >= 0x80) c = '?';
  }
  write_string(out, plain);
}

}  // namespace

void Acks::record(std::uint64_t line, const Appended& place) {
  answer({line, Kind::record, {place.position, place.end, place.sequence, place.sequence}, {}, {}});
}

void Acks::batch(std::uint64_t line, const AppendedBatch& place) {
  answer({line, Kind::batch, place, {}, {}});
}

void Acks::duplicate(std::uint64_t line, const AppendedBatch& place, bool batch) {
  answer({line, batch ? Kind::batch : Kind::record, place, {}, {}, {}, true});
}

void Acks::error(std::uint64_t line, std::string_view code, std::string_view message,
                 Sequence sequence) {
  AppendedBatch place;
  place.last_sequence = sequence;
  answer({line, Kind::error, place, std::string(code), std::string(message)});
}

void Acks::conflict(std::uint64_t line, const Conflict& conflict) {
  answer({line, Kind::conflict, {}, {}, {}, conflict});
}

void Acks::unknown(std::uint64_t line, std::string_view message) {
  answer({line, Kind::unknown, {}, {}, std::string(message)});
}

void Acks::durable() {
  for (const Answer& answer : waiting_) write(answer);
  waiting_.clear();
}

void Acks::unknown(std::string_view message) {
  for (Answer& answer : waiting_) {
    if (answer.kind != Kind::error) {
      answer.kind = Kind::unknown;
      answer.message = message;
    }
    write(answer);
  }
  waiting_.clear();
}

void Acks::answer(Answer answer) {
  answer.epoch = epoch_;
  const bool must_wait =
      promise_ == Promise::durable && (answer.kind != Kind::error || !waiting_.empty());
  if (must_wait) {
    waiting_.push_back(std::move(answer));
  } else {
    write(answer);
  }
}

void Acks::write(const Conflict& conflict) {
  out_.put(R"(,"conflict":{"condition":)");
  write_string(out_, to_string(conflict.condition));
  if (conflict.condition == ConditionKind::fence) {
    out_.put(R"(,"lease":)");
    write_key(out_, conflict.key);
  } else if (!conflict.key.empty()) {
    out_.put(R"(,"key":)");
    write_key(out_, conflict.key);
    out_.put(R"(,"version":)");
    out_.put_number(conflict.version);
    if (conflict.released) out_.put(R"(,"released":true)");
  }
  out_.put(R"(,"sequence":)");
  out_.put_number(conflict.sequence);
  if (conflict.condition != ConditionKind::last_sequence) {
    out_.put(R"(,"position":")");
    out_.put_number(conflict.position);
    out_.put('"');
  }
  out_.put('}');
}

void Acks::write(const Answer& answer) {
  out_.put(R"({"line":)");
  out_.put_number(answer.line);
  switch (answer.kind) {
    case Kind::record:
      out_.put(R"(,"sequence":)");
      out_.put_number(answer.place.first_sequence);
      break;
    case Kind::batch:
      out_.put(R"(,"first_sequence":)");
      out_.put_number(answer.place.first_sequence);
      out_.put(R"(,"last_sequence":)");
      out_.put_number(answer.place.last_sequence);
      out_.put(R"(,"count":)");
      out_.put_number(answer.place.last_sequence - answer.place.first_sequence + 1);
      break;
    case Kind::conflict: write(answer.conflict); break;
    case Kind::error:
      out_.put(R"(,"error":)");
      write_string(out_, answer.code);
      if (answer.place.last_sequence != kUnknown) {
        out_.put(R"(,"sequence":)");
        out_.put_number(answer.place.last_sequence);
      }
      out_.put(R"(,"message":)");
      write_message(out_, answer.message);
      break;
    case Kind::unknown:
      out_.put(R"(,"unknown":)");
      write_message(out_, answer.message);
      break;
  }
  const bool placed = answer.kind == Kind::record || answer.kind == Kind::batch;
  if (placed && answer.duplicate) {
    out_.put(R"(,"duplicate":true)");
  } else if (placed) {
    out_.put(R"(,"epoch":)");
    out_.put_number(answer.epoch);
    out_.put(R"(,"position":")");
    out_.put_number(answer.place.position);
    out_.put(promise_ == Promise::durable ? R"(","durable":true)" : R"(","durable":false)");
  }
  out_.put("}\n");
}

}  // namespace tailrace::cli
