// Planted mistakes cost nothing where they are not built in, and are chosen by name where they are.

#include "base/planted.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace tailrace {
namespace {

#ifndef TAILRACE_PLANTED

TEST(Planted, IsFalseAtCompileTime) {
  // A branch on a constant that is false leaves no code behind.
#define TAILRACE_MISTAKE(name, why) static_assert(!planted(Mistake::name));
  TAILRACE_MISTAKES(TAILRACE_MISTAKE)
#undef TAILRACE_MISTAKE
}

#else

void choose(const char* name) {
  ::setenv("TAILRACE_PLANT", name, 1);
  std::fprintf(stderr, "planted: %d\n", static_cast<int>(planted_mistake()));
  std::exit(0);
}

TEST(PlantedDeathTest, IsChosenByName) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_EXIT(choose(""), ::testing::ExitedWithCode(0), "planted: 0");
#define TAILRACE_MISTAKE(name, why) #name,
  const char* const names[] = {TAILRACE_MISTAKES(TAILRACE_MISTAKE)};
  for (std::size_t i = 0; i < std::size(names); ++i) {
    EXPECT_EXIT(choose(names[i]), ::testing::ExitedWithCode(0), std::to_string(i + 1)) << names[i];
  }
#undef TAILRACE_MISTAKE
}

TEST(PlantedDeathTest, AnUnknownNameEndsTheProcess) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_DEATH(choose("no_such_thing"), "TAILRACE_PLANT=no_such_thing: no such mistake");
}

#endif

}  // namespace
}  // namespace tailrace
