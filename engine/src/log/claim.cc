#include <cassert>
#include <utility>

#include "log/appender.h"

namespace tailrace {

Claim::Claim(Claim&& other) noexcept
    : appender_(std::exchange(other.appender_, nullptr)), payload_(other.payload_) {}
Claim& Claim::operator=(Claim&& other) noexcept {
  if (this != &other) {
    abort();
    appender_ = std::exchange(other.appender_, nullptr);
    payload_ = other.payload_;
  }
  return *this;
}
Claim::~Claim() { abort(); }

Result<Appended> Claim::commit(std::size_t payload_bytes) {
  assert(appender_ != nullptr && payload_bytes <= payload_.size());
  return std::exchange(appender_, nullptr)->commit_claim(payload_bytes);
}
void Claim::abort() noexcept {
  if (appender_ != nullptr) std::exchange(appender_, nullptr)->abort_claim();
}

}  // namespace tailrace
