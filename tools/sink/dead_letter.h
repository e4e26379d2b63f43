#pragma once

#include <tailrace/client.h>
#include <tailrace/record.h>

#include <string>

#include "sink/store.h"

namespace tailrace::sink {

/// Another log that takes the records which a store cannot. What is in it:
/// docs/sinks.md#dead-letters
class DeadLetter {
 public:
  /// Errors: as Client::connect.
  [[nodiscard]] static Result<DeadLetter> open(const std::string& log, Owner owner);

  /// The record and why; durable on return, and there once however often it is told.
  /// Errors: as Client::append.
  [[nodiscard]] Result<void> put(const RecordView& record, const std::string& why);

 private:
  DeadLetter(Client client, Owner owner) : client_(std::move(client)), owner_(std::move(owner)) {}
  Client client_;
  Owner owner_;
};

}  // namespace tailrace::sink
