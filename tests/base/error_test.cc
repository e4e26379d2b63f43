#include <gtest/gtest.h>

#include <cerrno>
#include <set>
#include <string>

#include "tailrace/result.h"

namespace tailrace::test {
namespace {

TEST(Error, SaysOnlyWhatIsKnown) {
  EXPECT_EQ(Error(errc::closed, "the writer is closed").message(), "the writer is closed");
  EXPECT_EQ(Error(errc::corrupt, "damaged").path("log/x.seg").message(), "damaged (log/x.seg)");
  EXPECT_EQ(Error(errc::corrupt, "damaged").offset(0).message(), "damaged (offset 0)");
  EXPECT_EQ(Error(errc::gone, "gone").sequence(0).next("seek").message(),
            "gone (sequence 0); seek");
}

TEST(Error, SaysWhatWhyWhereWhoAndWhatNext) {
  Error error(errc::io, "cannot write");
  error.os_error(ENOSPC).path("log/x.seg").offset(4096).sequence(7).pid(12).next("free some space");
  EXPECT_EQ(error.message(),
            "cannot write: No space left on device (log/x.seg, offset 4096, sequence 7, pid 12); "
            "free some space");
  EXPECT_EQ(error.code(), errc::io);
  EXPECT_EQ(error.os_error(), ENOSPC);
  EXPECT_EQ(error.pid(), 12);
}

TEST(Error, WhatIsNotSetIsUnknown) {
  const Error error(errc::io, "x");
  EXPECT_EQ(error.offset(), kUnknown);
  EXPECT_EQ(error.sequence(), kUnknown);
  EXPECT_EQ(error.pid(), 0);
  EXPECT_TRUE(error.path().empty());
  EXPECT_TRUE(error.next().empty());
}

TEST(Error, AnAdditionDoesNotShowInCopies) {
  Error error(errc::io, "x");
  const Error copy = error;
  error.path("p");
  EXPECT_EQ(copy.message(), "x");
  EXPECT_EQ(error.message(), "x (p)");
}

TEST(Error, EveryCodeHasItsOwnName) {
  std::set<std::string> names;
  const int count = static_cast<int>(errc::dead) + 1;
  for (int i = 0; i < count; ++i) names.insert(to_string(static_cast<errc>(i)));
  EXPECT_EQ(names.size(), static_cast<std::size_t>(count));
  EXPECT_EQ(names.count("?"), 0u);
  EXPECT_STREQ(to_string(errc::no_space), "no_space");
}

TEST(Error, AResultHoldsOneOrTheOther) {
  const Result<int> good = 3;
  const Result<int> bad = fail(Error(errc::too_large, "x"));
  EXPECT_EQ(*good, 3);
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().code(), errc::too_large);
}

}  // namespace
}  // namespace tailrace::test
