#pragma once

#include <algorithm>

#include "common/damage.h"
#include "log/stamp_place.h"
#include "tailrace/snapshot.h"

/// What the tests of snapshots share.
namespace tailrace::test {

inline constexpr const char* kSchema = "test 1";

/// The code of what went wrong; a success is a failure of the test.
template <class T>
errc code_of(const Result<T>& result) {
  if (!result) return result.error().code();
  ADD_FAILURE() << "it succeeded";
  return errc::io;
}

/// Appends so many records and makes them durable.
inline Sequence grow(Writer& writer, int count, std::string_view payload = "record") {
  Sequence last = 0;
  for (int i = 0; i < count; ++i) last = must(writer.append(as_bytes(payload))).sequence;
  must(writer.sync());
  return last;
}

/// The stamp of a record, as a consumer would have it.
inline Stamp stamp_at(const std::filesystem::path& log, Sequence sequence) {
  const LogFiles files = must(LogFiles::open(log));
  Reader reader = must(Reader::open(log));
  must(reader.seek_sequence(sequence));
  RecordView record;
  if (reader.next(record) != Outcome::record) throw std::runtime_error("no such record");
  return stamp_of_record(reader, record, log_id(files.meta));
}

/// Bytes that tell where they lie and of what they are.
inline std::string body_of(std::uint64_t seed, std::size_t size_bytes) {
  std::string body(size_bytes, '\0');
  std::mt19937_64 random(seed);
  for (std::size_t i = 0; i < size_bytes; ++i) body[i] = static_cast<char>(random());
  return body;
}

enum class How : std::uint8_t { streamed, mapped, in_child };
inline const char* name_of(How how) {
  return how == How::streamed ? "streamed" : how == How::mapped ? "mapped" : "in_child";
}

inline Result<void> fill(SnapshotWriter& writer, How how, std::string_view body) {
  switch (how) {
    case How::streamed: {
      // Pieces that fit nothing.
      for (std::size_t at = 0; at < body.size(); at += 100'003) {
        auto done = writer.write(as_bytes(body.substr(at, 100'003)));
        if (!done) return done;
      }
      return {};
    }
    case How::mapped: {
      auto memory = writer.map(body.size());
      if (!memory) return fail(memory.error());
      std::memcpy(memory->data(), body.data(), body.size());
      return {};
    }
    case How::in_child: return writer.write_in_child(as_bytes(body));
  }
  return {};
}

struct Taking {
  How how = How::streamed;
  std::string name = "state";
  std::string schema = kSchema;
  std::uint32_t keep = 0;
};

inline Result<SnapshotInfo> try_snapshot(const std::filesystem::path& log, const Stamp& stamp,
                                         std::string_view body, const Taking& taking = {}) {
  auto writer = SnapshotWriter::create(log, taking.name, taking.schema, stamp);
  if (!writer) return fail(writer.error());
  if (auto filled = fill(*writer, taking.how, body); !filled) return fail(filled.error());
  PublishOptions options;
  options.keep = taking.keep;
  return writer->publish(options);
}

inline SnapshotInfo snapshot(const std::filesystem::path& log, Sequence sequence,
                             std::string_view body, const Taking& taking = {}) {
  return must(try_snapshot(log, stamp_at(log, sequence), body, taking));
}

inline Result<Snapshot> latest(const std::filesystem::path& log, Verify verify = Verify::up_front,
                               Sequence at_most = kUnknown) {
  SnapshotOptions options;
  options.verify = verify;
  options.at_most = at_most;
  return Snapshot::open_latest(log, "state", kSchema, options);
}

inline std::filesystem::path file_of(const std::filesystem::path& log, Sequence sequence,
                                     const std::string& name = "state") {
  char file[32];
  std::snprintf(file, sizeof file, "%020llu.snap", static_cast<unsigned long long>(sequence));
  return log / "snapshots" / name / file;
}

/// What lies in the directory of a state, sorted.
inline std::vector<std::string> entries(const std::filesystem::path& log,
                                        const std::string& name = "state") {
  std::vector<std::string> names;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(log / "snapshots" / name, none)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// The sequences that list_snapshots() calls usable, the newest first.
inline std::vector<Sequence> usable(const std::filesystem::path& log) {
  std::vector<Sequence> sequences;
  for (const SnapshotInfo& info : must(list_snapshots(log, "state"))) {
    if (!info.trouble) sequences.push_back(info.stamp.sequence);
  }
  return sequences;
}

}  // namespace tailrace::test
