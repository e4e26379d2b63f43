#pragma once

#include "log/stored_consumer.h"
#include "tailrace/record.h"

namespace tailrace {

/// Which of its gates' progress a consumer goes by.
enum class GateKind : std::uint8_t { committed, durable };

/// Another consumer that must have committed a record before this one is handed it. Known by its
/// identity: another one of the same name is another one.
class Gate {
 public:
  /// Errors: gate_lost (removed, or made anew), permission, corrupt, io.
  [[nodiscard]] static Result<Gate> open(const ConsumerStore& store, const GateName& name);

  /// Looks at how far it is now. Errors: gate_lost, corrupt, io.
  [[nodiscard]] Result<void> look(GateKind kind);

  /// As of the last look(). A gate that was reset lets nothing pass that it has not come by again;
  /// one whose records were cut off by a recovery, nothing that was written afterwards.
  [[nodiscard]] bool lets_pass(const RecordView& record) const noexcept;

  [[nodiscard]] const std::string& name() const noexcept { return file_.identity().name; }
  [[nodiscard]] Sequence sequence() const noexcept {
    return std::min(committed_.sequence, durable_.sequence);
  }

 private:
  StoredConsumer file_;
  Stamp committed_;
  Stamp durable_;
};

}  // namespace tailrace
