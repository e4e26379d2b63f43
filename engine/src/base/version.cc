#include "tailrace/version.h"

namespace tailrace {

const char* version() noexcept { return TAILRACE_VERSION; }

}  // namespace tailrace
