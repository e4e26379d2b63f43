// The descriptor for event loops where there are other processes: children of its reader's, writers
// that die.

#include "race/event.h"

namespace tailrace::test {
namespace {

TEST_F(Event, AChildHasNoneAndTakesNothingFromItsParent) {
  Writer writer = log_.writer();
  std::optional<Reader> reader(log_.reader());
  const int event = must(reader->event_fd());
  EXPECT_EQ(to_the_end(*reader), Outcome::end);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(well_in_child([&] {
      ::alarm(20);
      if (to_the_end(*reader) != Outcome::end) return false;
      reader->stop();  // writes to no descriptor that the child may have opened meanwhile
      reader.reset();
      return true;
    }));
    EXPECT_FALSE(readable(event, 20)) << "told by the child";
    EXPECT_TRUE(well_in_child([&] {
      ::alarm(20);
      const int own = must(reader->event_fd());
      if (to_the_end(*reader) != Outcome::end || readable(own, 20)) return false;
      reader->stop();
      const bool told = readable(own);
      reader.reset();
      return told;
    }));
    EXPECT_FALSE(readable(event, 20)) << "told by the child";
  }
  must(writer.append(as_bytes("a")));
  EXPECT_TRUE(readable(event, kPatienceMs));
}

TEST_F(Event, GoesOnThroughAWritersDeathAndTellsOfARemovedLog) {
  Reader reader = log_.reader();
  const int event = must(reader.event_fd());
  EXPECT_EQ(to_the_end(reader), Outcome::end);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(killed_after([&] {
      Writer writer = log_.writer();
      must(writer.append(as_bytes("a")));
      die();
    }));
    EXPECT_TRUE(readable(event, kPatienceMs));
    EXPECT_EQ(to_the_end(reader), Outcome::end);
  }
  EXPECT_EQ(reader.next_sequence(), 4u);
  std::filesystem::remove_all(log_.path());
  EXPECT_TRUE(readable(event, kPatienceMs));
  EXPECT_EQ(to_the_end(reader), Outcome::closed);
  EXPECT_TRUE(readable(event));
}

}  // namespace
}  // namespace tailrace::test
