// The worked example of docs/format.md: the engine writes that log, byte for byte, and reads it.
// If it does not, the test prints what the document would have to show.

#include <chrono>
#include <cstdlib>
#include <numeric>
#include <thread>

#include "example_log.h"
#include "log/journal_file.h"

namespace tailrace::test {
namespace {

namespace fs = std::filesystem;

const std::vector<std::string> kFiles = {"log.meta",
                                         "segments/00000000000000000000.seg",
                                         "segments/00000000000001048576.seg",
                                         "segments/00000000000000000000.idx",
                                         "control",
                                         "journal"};
/// The journal of the same log if the power had failed when only "hello" had been committed.
const std::string kCrashed = "crashed/journal";
constexpr Position kEndOfHello = 0x10a0;

LogMeta example_meta() {
  LogMeta meta{};
  std::iota(std::begin(meta.log_id), std::end(meta.log_id), std::uint8_t{0x10});
  meta.salt = 0x5eed5eed5eed5eed;
  meta.segment_size_bytes = kSmallSegment;
  meta.journal_size_bytes = kMinJournalSizeBytes;
  meta.created_ns = Normaliser::kFirstTime;
  seal(meta);
  return meta;
}

/// A log with the example's identity, empty so far.
void give_identity(const TempLog& log) {
  const LogMeta meta = example_meta();
  overwrite_file(log.path() / "log.meta", std::as_bytes(std::span(&meta, 1)));
  FileBytes control(kControlBytes);
  init_control(control.data(), meta);
  overwrite_file(log.path() / "control", control);
  fs::remove(log.path() / "journal");
  must(JournalFile::create(must(Directory::open(log.path())), "journal", meta, Extent{}, 0));
}

const std::string kLongA(500'000, 'a');
const std::string kLongB(540'000, 'b');
const std::string kLongC(4'100, 'c');

void append_hello(Writer& writer) {
  const std::string_view keys[] = {"user:ada"};
  must(writer.append(RecordInput{as_bytes("hello"), 7, keys}));
}

void write_with_the_engine(const TempLog& log) {
  give_identity(log);
  {
    Writer writer = log.writer();
    append_hello(writer);
    const RecordInput batch[] = {{as_bytes("one")}, {as_bytes("")}};
    must(writer.append_batch(batch));
    must(writer.close());
  }
  Writer writer = log.writer();
  must(writer.append(as_bytes(kLongA)));
  must(writer.append(as_bytes(kLongB)));
  must(writer.append(as_bytes(kLongC), 8));
  must(writer.close());
}

/// The journal under a writer that has committed its epoch, "hello", and, at rest, an entry that
/// proves that; a slow machine may rest in between, so it is done again until that is so.
FileBytes journal_after_hello() {
  for (int attempt = 0; attempt < 20; ++attempt) {
    const TempLog log;
    give_identity(log);
    WriterOptions options;
    options.sync = SyncPolicy::none;
    Writer writer = log.writer(options);
    append_hello(writer);
    must(writer.sync());
    const std::uint64_t second_at = kJournalRingAt + entry_span(kSegmentHeaderBytes + 64);
    for (int look = 0; look < 100; ++look) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      FileBytes bytes = read_file(log.path() / "journal");
      const auto second = load<JournalEntry>(&bytes[second_at]);
      const auto third = load<JournalEntry>(&bytes[second_at + kJournalBlockBytes]);
      if (second.length == 0) break;
      if (third.acked == 2) return bytes;
    }
  }
  throw std::runtime_error("the writer never came to rest");
}

std::map<std::string, FileBytes> document() {
  const char* const source = std::getenv("TAILRACE_SOURCE_DIR");
  if (source == nullptr) throw std::runtime_error("TAILRACE_SOURCE_DIR is not set: run by ctest");
  return dumps_of_the_document(fs::path(source) / "docs" / "format.md");
}

void expect_in_the_document(const std::string& name, const FileBytes& bytes) {
  const auto shown = document();
  const auto found = shown.find(name);
  // Not EXPECT_EQ: a megabyte of bytes says nothing.
  EXPECT_TRUE(found != shown.end() && found->second == bytes) << "# " << name << "\n"
                                                              << dump(bytes);
}

TEST(Example, TheEngineWritesIt) {
  const TempLog log;
  write_with_the_engine(log);
  const LogMeta meta = example_meta();
  std::map<std::string, FileBytes> written;
  for (const std::string& name : kFiles) written[name] = read_file(log.path() / name);
  Normaliser normaliser(meta);
  normaliser.segment(written[kFiles[1]], 0);
  normaliser.segment(written[kFiles[2]], 1);
  normaliser.index(written[kFiles[3]]);
  Normaliser::control(written["control"]);
  normaliser.closed_journal(written["journal"]);
  for (const std::string& name : kFiles) expect_in_the_document(name, written[name]);
}

TEST(Example, TheEngineWritesTheJournalOfTheCrash) {
  FileBytes bytes = journal_after_hello();
  Normaliser(example_meta()).running_journal(bytes);
  expect_in_the_document(kCrashed, bytes);
}

TEST(Example, TheEngineReadsIt) {
  const TempLog log;
  const auto shown = document();
  for (const std::string& name : kFiles) overwrite_file(log.path() / name, shown.at(name));
  const VerifyReport report = must(verify(log.path()));
  EXPECT_EQ(report.verdict, Verdict::ok) << report.detail;
  EXPECT_EQ(report.records, 6u);
  Reader reader = log.reader();
  const std::vector<Copied> expected = {{1, 7, "hello", {"user:ada"}},
                                        {2, 0, "one", {}},
                                        {3, 0, "", {}},
                                        {4, 0, kLongA, {}},
                                        {5, 0, kLongB, {}},
                                        {6, 8, kLongC, {}}};
  EXPECT_EQ(drain(reader), expected);
  must(reader.seek_start());
  std::vector<std::pair<Position, Epoch>> places;
  RecordView record;
  while (reader.next(record) == Outcome::record) places.emplace_back(record.position, record.epoch);
  const std::vector<std::pair<Position, Epoch>> places_of_the_document = {
      {4160, 1}, {4256, 1}, {4320, 1}, {4416, 2}, {504448, 2}, {1052672, 2}};
  EXPECT_EQ(places, places_of_the_document);
}

TEST(Example, TheEngineReadsWhatOnlyTheJournalHasAfterTheCrash) {
  const TempLog log;
  auto shown = document();
  overwrite_file(log.path() / "log.meta", shown["log.meta"]);
  overwrite_file(log.path() / "journal", shown[kCrashed]);
  FileBytes control = shown["control"];
  store(&control[offsetof(Control, state)], ControlState::running);
  store(&control[offsetof(Control, durable)], kEndOfHello);
  overwrite_file(log.path() / "control", control);
  const VerifyReport report = must(verify(log.path()));
  EXPECT_EQ(report.verdict, Verdict::ok) << report.detail;
  EXPECT_EQ(report.records, 1u);
  const Writer writer = log.writer();
  EXPECT_EQ(writer.recovery().last_sequence, 1u);
  EXPECT_EQ(writer.recovery().end, kEndOfHello);
  Reader reader = log.reader();
  EXPECT_EQ(drain(reader), (std::vector<Copied>{{1, 7, "hello", {"user:ada"}}}));
}

TEST(Example, ADumpIsUndone) {
  FileBytes bytes(100, std::byte{0});
  bytes[3] = std::byte{7};
  bytes[99] = std::byte{9};
  EXPECT_EQ(undump(dump(bytes)), bytes);
  FileBytes other = bytes;
  other[50] = std::byte{1};
  EXPECT_NE(undump(dump(other)), bytes);
  EXPECT_EQ(undump("00000000  01 02 | 03 a remark\n00000002\n"),
            (FileBytes{std::byte{1}, std::byte{2}}));
}

}  // namespace
}  // namespace tailrace::test
