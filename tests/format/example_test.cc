// The worked example of docs/format.md: the engine writes that log, byte for byte, and reads it.
// If it does not, the test prints what the document would have to show.

#include <cstdlib>
#include <numeric>

#include "example_log.h"

namespace tailrace::test {
namespace {

namespace fs = std::filesystem;

const std::vector<std::string> kFiles = {"log.meta", "segments/00000000000000000000.seg",
                                         "segments/00000000000001048576.seg",
                                         "segments/00000000000000000000.idx", "control"};

LogMeta example_meta() {
  LogMeta meta{};
  std::iota(std::begin(meta.log_id), std::end(meta.log_id), std::uint8_t{0x10});
  meta.salt = 0x5eed5eed5eed5eed;
  meta.segment_size_bytes = kSmallSegment;
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
}

const std::string kLongA(500'000, 'a');
const std::string kLongB(540'000, 'b');
const std::string kLongC(4'100, 'c');

void write_with_the_engine(const TempLog& log) {
  give_identity(log);
  {
    Writer writer = log.writer();
    const std::string_view keys[] = {"user:ada"};
    must(writer.append(RecordInput{as_bytes("hello"), 7, keys}));
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

std::map<std::string, FileBytes> document() {
  const char* const source = std::getenv("TAILRACE_SOURCE_DIR");
  if (source == nullptr) throw std::runtime_error("TAILRACE_SOURCE_DIR is not set: run by ctest");
  return dumps_of_the_document(fs::path(source) / "docs" / "format.md");
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
  const auto shown = document();
  for (const std::string& name : kFiles) {
    const auto found = shown.find(name);
    // Not EXPECT_EQ: a megabyte of bytes says nothing.
    EXPECT_TRUE(found != shown.end() && found->second == written[name]) << "# " << name << "\n"
                                                                        << dump(written[name]);
  }
}

TEST(Example, TheEngineReadsIt) {
  const TempLog log;
  for (const auto& [name, bytes] : document()) overwrite_file(log.path() / name, bytes);
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
