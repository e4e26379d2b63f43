#include <fmt/format.h>

#include <cstring>
#include <system_error>

#include "tailrace/result.h"

namespace tailrace {

struct Error::Context {
  errc code;
  std::string what;
  std::string path;
  std::uint64_t offset = kUnknown;
  Sequence sequence = kUnknown;
  std::int64_t pid = 0;
  int os_error = 0;
  std::string next;
};

const char* to_string(errc code) noexcept {
  switch (code) {
    case errc::invalid_argument: return "invalid_argument";
    case errc::not_found: return "not_found";
    case errc::exists: return "exists";
    case errc::not_a_log: return "not_a_log";
    case errc::unsupported_version: return "unsupported_version";
    case errc::permission: return "permission";
    case errc::io: return "io";
    case errc::no_space: return "no_space";
    case errc::too_large: return "too_large";
    case errc::locked: return "locked";
    case errc::forked: return "forked";
    case errc::poisoned: return "poisoned";
    case errc::closed: return "closed";
    case errc::corrupt: return "corrupt";
    case errc::gone: return "gone";
    case errc::keys_incomplete: return "keys_incomplete";
    case errc::beyond_end: return "beyond_end";
    case errc::too_costly: return "too_costly";
    case errc::event_id_reused: return "event_id_reused";
    case errc::out_of_range: return "out_of_range";
    case errc::busy: return "busy";
    case errc::timed_out: return "timed_out";
    case errc::diverged: return "diverged";
    case errc::gate_lost: return "gate_lost";
    case errc::dead: return "dead";
    case errc::unknown: return "unknown";
    case errc::fold_failed: return "fold_failed";
  }
  return "?";
}

Error::Error(errc code, std::string what)
    : context_(std::make_shared<Context>(
          Context{code, std::move(what), {}, kUnknown, kUnknown, 0, 0, {}})) {}

Error::Context& Error::edit() {
  // Errors are copied when they are handed on; a later addition must not show in the copies.
  if (context_.use_count() > 1) context_ = std::make_shared<Context>(*context_);
  return *context_;
}

Error& Error::path(std::string value) {
  edit().path = std::move(value);
  return *this;
}
Error& Error::offset(std::uint64_t bytes) {
  edit().offset = bytes;
  return *this;
}
Error& Error::sequence(Sequence value) {
  edit().sequence = value;
  return *this;
}
Error& Error::pid(std::int64_t value) {
  edit().pid = value;
  return *this;
}
Error& Error::os_error(int errno_value) {
  edit().os_error = errno_value;
  return *this;
}
Error& Error::next(std::string value) {
  edit().next = std::move(value);
  return *this;
}

errc Error::code() const noexcept { return context_->code; }
const std::string& Error::what() const noexcept { return context_->what; }
const std::string& Error::path() const noexcept { return context_->path; }
std::uint64_t Error::offset() const noexcept { return context_->offset; }
Sequence Error::sequence() const noexcept { return context_->sequence; }
std::int64_t Error::pid() const noexcept { return context_->pid; }
int Error::os_error() const noexcept { return context_->os_error; }
const std::string& Error::next() const noexcept { return context_->next; }

std::string Error::message() const {
  std::string text = what();
  if (os_error() != 0) text += ": " + std::generic_category().message(os_error());
  std::string place;
  const auto add = [&place](const std::string& part) {
    if (!place.empty()) place += ", ";
    place += part;
  };
  if (!path().empty()) add(path());
  if (offset() != kUnknown) add(fmt::format("offset {}", offset()));
  if (sequence() != kUnknown) add(fmt::format("sequence {}", sequence()));
  if (pid() != 0) add(fmt::format("pid {}", pid()));
  if (!place.empty()) text += " (" + place + ")";
  if (!next().empty()) text += "; " + next();
  return text;
}

}  // namespace tailrace
