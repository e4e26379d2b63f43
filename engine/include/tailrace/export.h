#pragma once

#if __cplusplus < 202002L
#error "Tailrace needs C++20: compile with -std=c++20 or newer"
#endif

/// Marks what the shared library shows to its users. All else is compiled hidden.
#define TAILRACE_EXPORT __attribute__((visibility("default")))
