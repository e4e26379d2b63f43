// Snapshots of format version 1, as they were written once: tests/data/snapshots. They belong to
// the log of the worked example in docs/format.md, and the page shows one of them.

#include "example_log.h"
#include "format/snapshot_header.h"
#include "state/snapshots.h"

namespace tailrace::test {
namespace {

namespace fs = std::filesystem;

constexpr const char* kName = "snapshots/words/00000000000000000003.snap";

fs::path source() {
  const char* const named = std::getenv("TAILRACE_SOURCE_DIR");
  if (named == nullptr) throw std::runtime_error("TAILRACE_SOURCE_DIR is not set: run by ctest");
  return named;
}

fs::path golden(Sequence sequence) {
  return source() / "tests/data/snapshots" / (std::to_string(sequence) + ".snap");
}

struct Example {
  Sequence sequence;
  std::string schema;
  std::string body;
};

std::vector<Example> examples() {
  std::string squares;
  for (std::uint32_t i = 0; i < 1000; ++i) {
    const std::uint32_t square = i * i;
    squares.append(reinterpret_cast<const char*>(&square), sizeof square);
  }
  return {{1, "squares: u32[1000]", squares},
          {3, "words: text, one a line", "hello\none\n\n"},
          {6, "", ""}};
}

class SnapshotExample : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const auto& [name, bytes] : dumps_of_the_document(source() / "docs/format.md")) {
      if (fs::exists((log_.path() / name).parent_path())) overwrite_file(log_.path() / name, bytes);
    }
    fs::create_directories(log_.path() / "snapshots/words");
  }
  void put(const Example& example) {
    const fs::path file = file_of(log_.path(), example.sequence, "words");
    fs::copy_file(golden(example.sequence), file);
    fs::permissions(file, fs::perms(0640));
  }
  TempLog log_;
};

TEST_F(SnapshotExample, OfVersion1IsRead) {
  for (const Example& example : examples()) {
    SCOPED_TRACE(example.sequence);
    put(example);
    const Snapshot found = must(Snapshot::open_latest(log_.path(), "words", example.schema));
    EXPECT_EQ(found.stamp(), stamp_at(log_.path(), example.sequence));
    EXPECT_EQ(found.info().created_ns, Normaliser::kFirstTime);
    EXPECT_EQ(as_text(found.body()), example.body);
    EXPECT_TRUE(must(found.verified()));
  }
  for (const SnapshotInfo& info : must(list_snapshots(log_.path()))) {
    EXPECT_FALSE(info.trouble);
    must(verify_snapshot(log_.path(), info));
  }
}

TEST_F(SnapshotExample, IsWhatIsWrittenToday) {
  const LogMeta meta = must(LogFiles::open(log_.path())).meta;
  for (const Example& example : examples()) {
    SCOPED_TRACE(example.sequence);
    SnapshotContent content;
    content.name = "words";
    content.schema = example.schema;
    content.stamp = stamp_at(log_.path(), example.sequence);
    content.body_size_bytes = example.body.size();
    content.created_ns = Normaliser::kFirstTime;
    BodyDigest digest;
    digest.add(example.body.data(), example.body.size());
    content.body_digest = digest.end();
    const SnapshotHeader header = make_snapshot_header(content, meta);
    std::string bytes(reinterpret_cast<const char*>(&header), sizeof header);
    bytes += example.body;
    if (const char* const make = std::getenv("TAILRACE_MAKE_GOLDEN")) {
      write_bytes(fs::path(make) / (std::to_string(example.sequence) + ".snap"), bytes);
    }
    EXPECT_TRUE(file_bytes(golden(example.sequence)) == bytes);
  }
}

TEST_F(SnapshotExample, IsInTheDocument) {
  const auto shown = dumps_of_the_document(source() / "docs/format.md");
  const FileBytes bytes = read_file(golden(3));
  const auto found = shown.find(kName);
  EXPECT_TRUE(found != shown.end() && found->second == bytes) << "# " << kName << "\n"
                                                              << dump(bytes);
}

}  // namespace
}  // namespace tailrace::test
