// What removed records said about keys and event ids: keys/base, and what is answered when it is
// missing, damaged, or cannot be written.

#include "log/asking.h"

namespace tailrace::test {
namespace {

errc refused(Writer& writer, const Condition& condition) {
  const auto decision = writer.append_if(condition, {as_bytes("y")});
  EXPECT_FALSE(decision);
  return decision ? errc::closed : decision.error().code();
}

/// A log of 8 segments; "old" and "gone" are only in what is trimmed, "kept" is in both.
void write_and_trim(const TempLog& log) {
  Writer writer = log.writer();
  write(writer, {"old", "kept"});  // 1
  write(writer, {"old", "gone"});  // 2
  write(writer, {"gone"}, 1);      // 3
  roll(writer, 4);                 // 4 to 7
  write(writer, {"kept"});         // 8
  roll(writer, 3);                 // 9 to 11
  write(writer, {"new"});          // 12
  must(writer.sync());
  ASSERT_EQ(must(writer.trim(before(8))).new_first_sequence, 7u);
  must(writer.close());
  std::filesystem::remove(checkpoint_of(log));  // it may know all of this as well
}

void expect_all_known(Writer& writer) {
  const auto old = ask(writer, "old");
  ASSERT_TRUE(old);
  EXPECT_EQ(old->version, 2u);
  EXPECT_EQ(old->sequence, 2u);
  EXPECT_EQ(old->position, 0u);  // it has been removed
  EXPECT_FALSE(old->released);
  const auto gone = ask(writer, "gone");
  ASSERT_TRUE(gone);
  EXPECT_EQ(gone->version, 2u);
  EXPECT_EQ(gone->sequence, 3u);
  EXPECT_TRUE(gone->released);
  EXPECT_EQ(ask(writer, "kept")->sequence, 8u);
  EXPECT_EQ(ask(writer, "kept")->version, 2u);
  EXPECT_EQ(ask(writer, "new")->sequence, 12u);
  EXPECT_FALSE(ask(writer, "never"));
}

/// As if there had been no base: what is left is known, of all else nobody says anything.
void expect_incomplete(Writer& writer) {
  EXPECT_EQ(ask(writer, "kept")->version, 2u);
  EXPECT_EQ(ask(writer, "new")->version, 1u);
  for (const char* const key : {"old", "gone", "never"}) {
    EXPECT_EQ(refused(writer, Condition::absent(key)), errc::keys_incomplete) << key;
    EXPECT_EQ(refused(writer, Condition::unchanged(key, 11)), errc::keys_incomplete) << key;
    const std::string_view keys[] = {key};
    const auto appended = writer.append({as_bytes("x"), 0, keys});
    ASSERT_FALSE(appended) << key;  // which version would it have?
    EXPECT_EQ(appended.error().code(), errc::keys_incomplete);
  }
  must(writer.append(as_bytes("without keys")));
}

TEST(RemovedKeys, AreKnownAfterTheTrimAndAfterAReopen) {
  const TempLog log;
  write_and_trim(log);
  Writer writer = log.writer();
  expect_all_known(writer);
  // Versions go on, a released name can be had again, a taken one cannot.
  EXPECT_TRUE(must(writer.append_if(Condition::absent("gone"), {as_bytes("x")})).appended());
  EXPECT_FALSE(must(writer.append_if(Condition::absent("old"), {as_bytes("x")})).appended());
  EXPECT_TRUE(must(writer.append_if(Condition::unchanged("old", 2), {as_bytes("x")})).appended());
  EXPECT_FALSE(must(writer.append_if(Condition::unchanged("old", 1), {as_bytes("x")})).appended());
  write(writer, {"old", "gone"});
  EXPECT_EQ(ask(writer, "old")->version, 3u);
  EXPECT_EQ(ask(writer, "gone")->version, 3u);
  must(writer.close());
  EXPECT_EQ(must(verify(log.path())).verdict, Verdict::ok);
}

TEST(RemovedKeys, AreKnownToAWriterThatTrimsAsItGoes) {
  const TempLog log;
  Writer writer = log.writer();
  for (std::uint64_t round = 1; round <= 6; ++round) {
    write(writer, {"each", "r" + std::to_string(round)});
    roll(writer, 2);
    must(writer.sync());
    must(writer.trim(before(writer.last_sequence())));
    for (std::uint64_t past = 1; past <= round; ++past) {
      EXPECT_EQ(ask(writer, "r" + std::to_string(past))->version, 1u);
    }
    EXPECT_EQ(ask(writer, "each")->version, round);
  }
  write(writer, {"r1", "each"});
  EXPECT_EQ(ask(writer, "r1")->version, 2u);
  EXPECT_EQ(ask(writer, "each")->version, 7u);
}

TEST(RemovedKeys, AMissingOrDamagedBaseIsNotAnEmptyOne) {
  const TempLog log;
  write_and_trim(log);
  const std::string whole = file_bytes(base_of(log));
  const auto look = [&] {
    Writer writer = log.writer();
    expect_incomplete(writer);
  };
  std::filesystem::remove(base_of(log));
  look();
  EXPECT_EQ(must(verify(log.path())).file, "keys/base");
  // A bit anywhere, also in the directory; a file cut short.
  for (std::size_t at : {std::size_t{3}, std::size_t{40}, std::size_t{4100}, whole.size() - 1}) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 4);
    write_bytes(base_of(log), damaged);
    look();
    const VerifyReport report = must(verify(log.path()));
    EXPECT_EQ(report.verdict, Verdict::corrupt) << at;
    EXPECT_EQ(report.file, "keys/base");
  }
  for (std::size_t size : {std::size_t{0}, std::size_t{4096}, whole.size() - 32}) {
    write_bytes(base_of(log), whole.substr(0, size));
    look();
  }
  write_bytes(base_of(log), whole);
  Writer writer = log.writer();
  expect_all_known(writer);
}

TEST(RemovedKeys, ABaseAfterALostOneKnowsThatSomethingIsLost) {
  const TempLog log;
  write_and_trim(log);
  std::filesystem::remove(base_of(log));
  {
    Writer writer = log.writer();
    roll(writer, 3);
    must(writer.sync());
    ASSERT_GT(must(writer.trim(before(10))).segments, 0u);
    EXPECT_EQ(ask(writer, "kept")->version, 2u);
  }
  std::filesystem::remove(checkpoint_of(log));
  Writer writer = log.writer();
  EXPECT_EQ(ask(writer, "kept")->version, 2u);
  EXPECT_EQ(refused(writer, Condition::absent("never")), errc::keys_incomplete);
  must(writer.close());
  EXPECT_EQ(must(verify(log.path())).verdict, Verdict::corrupt);
  EXPECT_EQ(must(plan_repair(log.path())).keys, KeysDamage::lost);
  must(repair_keys(log.path()));
  EXPECT_EQ(must(plan_repair(log.path())).keys, KeysDamage::none);
  EXPECT_EQ(must(verify(log.path())).verdict, Verdict::ok);
  writer = log.writer();
  EXPECT_EQ(ask(writer, "kept")->version, 2u);
  EXPECT_TRUE(must(writer.append_if(Condition::absent("never"), {as_bytes("x")})).appended());
}

TEST(RemovedKeys, RepairGivesUpWhatIsLostAndKeepsTheFile) {
  const TempLog log;
  write_and_trim(log);
  std::string damaged = file_bytes(base_of(log));
  damaged[4100] = static_cast<char>(damaged[4100] ^ 4);
  write_bytes(base_of(log), damaged);
  EXPECT_EQ(must(plan_repair(log.path())).keys, KeysDamage::lost);
  must(repair_keys(log.path()));
  EXPECT_EQ(file_bytes(log.path() / "salvage" / "keys-base-1"), damaged);
  EXPECT_EQ(must(verify(log.path())).verdict, Verdict::ok);
  Writer writer = log.writer();
  EXPECT_FALSE(ask(writer, "old"));
  write(writer, {"old"});
  EXPECT_EQ(ask(writer, "old")->version, 1u);
  EXPECT_EQ(ask(writer, "kept")->version, 2u);
}

/// Segments of this process's mappings whose files are gone.
std::size_t removed_segments_mapped() {
  const std::string maps = file_bytes("/proc/self/maps");
  std::size_t count = 0;
  for (std::size_t at = 0; (at = maps.find(".seg (deleted)", at)) != std::string::npos; ++at) {
    ++count;
  }
  return count;
}

/// Else their blocks would be held as long as the writer lives.
TEST(RemovedKeys, TheirSegmentsAreLetGoOf) {
  const TempLog log;
  Writer writer = log.writer();
  write(writer, {"old"});
  roll(writer, 5);
  EXPECT_EQ(ask(writer, "old")->version, 1u);  // looked at in its segment
  must(writer.sync());
  ASSERT_GT(must(writer.trim(before(5))).segments, 0u);
  EXPECT_GT(removed_segments_mapped(), 0u);
  roll(writer, 1);
  for (int i = 0; i < 500 && removed_segments_mapped() > 0; ++i) ::usleep(10'000);
  EXPECT_EQ(removed_segments_mapped(), 0u);
  EXPECT_EQ(ask(writer, "old")->version, 1u);
}

TEST(RemovedKeys, NothingIsTrimmedThatTheBaseDoesNotCover) {
  const TempLog log;
  Writer writer = log.writer();
  write(writer, {"old"});
  roll(writer, 4);
  must(writer.sync());
  // A directory is in the way of the new file.
  std::filesystem::create_directory(log.path() / "keys" / "base.new");
  const auto trimmed = writer.trim(before(4));
  ASSERT_FALSE(trimmed);
  EXPECT_EQ(control_retained(log.path()), 0u);
  EXPECT_EQ(segments_of(log.path()).front(), 0u);
  std::filesystem::remove(log.path() / "keys" / "base.new");
  EXPECT_GT(must(writer.trim(before(4))).segments, 0u);
  EXPECT_EQ(ask(writer, "old")->version, 1u);
}

TEST(RemovedKeys, ComeBackWithABackup) {
  const TempLog log;
  write_and_trim(log);
  const TempDir dir;
  must(backup_log(log.path(), dir.path() / "backup"));
  must(restore_log(dir.path() / "backup", dir.path() / "again"));
  EXPECT_EQ(must(verify(dir.path() / "again")).verdict, Verdict::ok);
  Writer writer = must(Writer::open(dir.path() / "again"));
  expect_all_known(writer);
}

// --- event ids ---

Decision submit(Writer& writer, std::uint8_t id, std::vector<std::string_view> payloads) {
  std::vector<RecordInput> records;
  for (const std::string_view payload : payloads) records.push_back({as_bytes(payload), 1});
  Request request{records};
  request.event_id.emplace();
  request.event_id->bytes[15] = id;
  return must(writer.append_if(request));
}

TEST(RemovedIds, AnswerAsBeforeTheTrim) {
  const TempLog log;
  {
    Writer writer = log.writer();
    EXPECT_FALSE(submit(writer, 1, {"a"}).duplicate);            // 1
    EXPECT_FALSE(submit(writer, 2, {"b", "c", "d"}).duplicate);  // 2 to 4
    roll(writer, 4);
    EXPECT_FALSE(submit(writer, 3, {"e", "f"}).duplicate);  // 9 and 10
    must(writer.sync());
    ASSERT_GT(must(writer.trim(before(8))).segments, 0u);
    const Decision again = submit(writer, 2, {"b", "c", "d"});
    EXPECT_TRUE(again.duplicate);
    EXPECT_EQ(again.place.first_sequence, 2u);
    EXPECT_EQ(again.place.last_sequence, 4u);
    must(writer.close());
  }
  std::filesystem::remove(checkpoint_of(log));
  for (int i = 0; i < 2; ++i) {
    Writer writer = log.writer();
    const Decision first = submit(writer, 1, {"a"});
    EXPECT_TRUE(first.duplicate);
    EXPECT_EQ(first.place.first_sequence, 1u);
    EXPECT_EQ(first.place.last_sequence, 1u);
    const Decision second = submit(writer, 2, {"b", "c", "d"});
    EXPECT_TRUE(second.duplicate);
    EXPECT_EQ(second.place.first_sequence, 2u);
    EXPECT_EQ(second.place.last_sequence, 4u);
    EXPECT_EQ(submit(writer, 3, {"e", "f"}).place.last_sequence, 10u);
    std::vector<RecordInput> other{{as_bytes("z"), 1}};
    Request reused{other};
    reused.event_id.emplace();
    reused.event_id->bytes[15] = std::uint8_t{2};
    const auto refusal = writer.append_if(reused);
    ASSERT_FALSE(refusal);
    EXPECT_EQ(refusal.error().code(), errc::event_id_reused);
    roll(writer, 3);
    must(writer.sync());
    must(writer.trim(before(writer.last_sequence())));
    must(writer.close());
    std::filesystem::remove(checkpoint_of(log));
  }
  std::filesystem::remove(base_of(log));
  Writer writer = log.writer();
  std::vector<RecordInput> records{{as_bytes("a"), 1}};
  Request request{records};
  request.event_id.emplace();
  request.event_id->bytes[15] = std::uint8_t{1};
  const auto unknown = writer.append_if(request);
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code(), errc::keys_incomplete);
}

TEST(RemovedIds, TheWindowIsTheSameHoweverItIsRebuilt) {
  const TempDir dir;
  CreateOptions options;
  options.segment_size_bytes = kMinSegmentSizeBytes;
  options.event_id_window = 10;
  must(create_log(dir.path() / "log", options));
  const auto known = [&](Writer& writer, std::uint8_t id) {
    const Position end = writer.committed();
    const Decision decision = submit(writer, id, {"x"});
    EXPECT_EQ(decision.duplicate, writer.committed() == end);
    return decision.duplicate;
  };
  {
    Writer writer = must(Writer::open(dir.path() / "log"));
    for (std::uint8_t id = 1; id <= 25; ++id) {
      EXPECT_FALSE(known(writer, id));
      roll(writer, 1);
    }
    must(writer.sync());
    must(writer.trim(before(40)));  // ids 1 to 19
    must(writer.close());
  }
  std::filesystem::remove(dir.path() / "log" / "keys" / "checkpoint");
  Writer writer = must(Writer::open(dir.path() / "log"));
  for (std::uint8_t id = 16; id <= 25; ++id) EXPECT_TRUE(known(writer, id)) << int{id};
  EXPECT_FALSE(known(writer, 15));  // the tenth last but one; it takes the place of 16
  EXPECT_FALSE(known(writer, 16));
  EXPECT_TRUE(known(writer, 18));
}

}  // namespace
}  // namespace tailrace::test
