#include "cli/exit_codes.h"

namespace tailrace::cli {

Exit exit_for(errc code) noexcept {
  switch (code) {
    case errc::invalid_argument: return Exit::usage;
    case errc::not_found: return Exit::not_found;
    case errc::out_of_range: return Exit::not_found;
    case errc::beyond_end: return Exit::not_found;
    case errc::event_id_reused: return Exit::conflict;
    case errc::corrupt: return Exit::corrupt;
    case errc::gone: return Exit::corrupt;
    case errc::diverged: return Exit::corrupt;
    case errc::gate_lost: return Exit::corrupt;
    case errc::dead: return Exit::failure;
    case errc::unknown: return Exit::failure;
    case errc::fold_failed: return Exit::failure;
    case errc::locked: return Exit::locked;
    case errc::timed_out: return Exit::timed_out;
    case errc::exists: return Exit::failure;
    case errc::not_a_log: return Exit::failure;
    case errc::unsupported_version: return Exit::failure;
    case errc::permission: return Exit::failure;
    case errc::io: return Exit::failure;
    case errc::no_space: return Exit::failure;
    case errc::too_large: return Exit::failure;
    case errc::forked: return Exit::failure;
    case errc::keys_incomplete: return Exit::failure;
    case errc::too_costly: return Exit::failure;
    case errc::busy:
    case errc::poisoned: return Exit::failure;
    case errc::closed: return Exit::failure;
  }
  return Exit::failure;
}

}  // namespace tailrace::cli
