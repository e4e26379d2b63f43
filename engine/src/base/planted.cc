#include "base/planted.h"

#ifdef TAILRACE_PLANTED

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

namespace tailrace {
namespace {

Mistake chosen() noexcept {
  const char* const wanted = std::getenv("TAILRACE_PLANT");
  if (wanted == nullptr || *wanted == '\0') return Mistake::none;
#define TAILRACE_MISTAKE(name, why) \
  if (std::strcmp(wanted, #name) == 0) return Mistake::name;
  TAILRACE_MISTAKES(TAILRACE_MISTAKE)
#undef TAILRACE_MISTAKE
  std::fprintf(stderr, "TAILRACE_PLANT=%s: no such mistake in engine/src/base/planted.h\n", wanted);
  std::abort();
}

}  // namespace

Mistake planted_mistake() noexcept {
  static const Mistake mistake = chosen();
  return mistake;
}

void planted_pause(unsigned microseconds) noexcept {
  std::this_thread::sleep_for(std::chrono::microseconds(microseconds));
}

}  // namespace tailrace

#endif
