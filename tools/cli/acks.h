#pragma once

#include <tailrace/writer.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cli/output.h"

namespace tailrace::cli {

/// The answers of `append --acks`: one JSON line for each line of input, in order.
/// Format: docs/cli.md#acknowledgements
///
/// Answers that promise durability wait until durable() or unknown() is called, and all behind
/// them wait too.
class Acks {
 public:
  enum class Promise : std::uint8_t { committed, durable };
  Acks(int descriptor, Promise promise, Epoch epoch)
      : out_(descriptor), promise_(promise), epoch_(epoch) {}
  /// From here on answers are another writer's.
  void set_epoch(Epoch epoch) noexcept { epoch_ = epoch; }

  void record(std::uint64_t line, const Appended& place);
  void batch(std::uint64_t line, const AppendedBatch& place);
  /// They are there already: the request came before.
  void duplicate(std::uint64_t line, const AppendedBatch& place, bool batch);
  void conflict(std::uint64_t line, const Conflict& conflict);
  /// sequence: what the error speaks of; kUnknown = none.
  void error(std::uint64_t line, std::string_view code, std::string_view message,
             Sequence sequence = kUnknown);

  /// Nobody can tell what became of this line.
  void unknown(std::uint64_t line, std::string_view message);

  /// Everything appended so far is durable.
  void durable();
  /// Nobody can tell whether what waits is durable, because of this.
  void unknown(std::string_view message);

  [[nodiscard]] std::size_t waiting() const noexcept { return waiting_.size(); }
  bool flush() { return out_.flush(); }
  [[nodiscard]] const Output& output() const noexcept { return out_; }

 private:
  enum class Kind : std::uint8_t { record, batch, conflict, error, unknown };
  struct Answer {
    std::uint64_t line = 0;
    Kind kind = Kind::record;
    AppendedBatch place;
    std::string code;
    std::string message;
    Conflict conflict{};
    bool duplicate = false;  // of a record or batch
    Epoch epoch = 0;
  };

  void answer(Answer answer);
  void write(const Answer& answer);
  void write(const Conflict& conflict);

  Output out_;
  Promise promise_;
  Epoch epoch_;
  std::vector<Answer> waiting_;
};

}  // namespace tailrace::cli
