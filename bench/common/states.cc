#include "common/states.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "common/process.h"
#include "common/works.h"
#include "tailrace/mapped_containers.h"
#include "tailrace/projection.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace tailrace::bench {
namespace {

constexpr std::size_t kPageBytes = 4096;
constexpr const char* kState = "large";

/// A log of its own below `scratch`, gone when the run is over.
class StateLog {
 public:
  explicit StateLog(const std::filesystem::path& scratch) : directory_(scratch / "state") {
    std::filesystem::create_directories(directory_);
    make_log(log());
  }
  ~StateLog() {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  StateLog(const StateLog&) = delete;
  StateLog& operator=(const StateLog&) = delete;
  [[nodiscard]] ReadyLog log() const { return {.path = directory_ / "log"}; }

 private:
  std::filesystem::path directory_;
};

struct Large {
  MappedVector<std::uint64_t> words;
  explicit Large(const StateAllocator<std::byte>& allocator) : words(allocator) {}
};
struct Sum {
  std::uint64_t sum = 0;
};

template <class T>
[[nodiscard]] bool said(const Result<T>& result) {
  if (!result) fmt::print(stderr, "{}\n", result.error().message());
  return result.has_value();
}

template <class Work>
double timed_ns(Work work) {
  const std::int64_t start = monotonic_ns();
  if (!work()) return 0;
  return static_cast<double>(monotonic_ns() - start);
}

bool append_some(const ReadyLog& log, std::uint64_t records) {
  Writer writer = open_writer(log);
  std::byte payload[64] = {};
  for (std::uint64_t i = 0; i < records; ++i) {
    std::memcpy(payload, &i, sizeof i);
    if (!said(writer.append(payload))) return false;
  }
  return said(writer.sync()) && said(writer.close());
}

ProjectionOptions large_options(Verify verify) {
  ProjectionOptions options;
  options.name = kState;
  options.verify = verify;
  options.snapshots = {.every_records = 0, .every = std::chrono::nanoseconds(0), .on_close = false};
  return options;
}

Projection<Large>::Fold grow_to(std::uint64_t state_bytes) {
  return [state_bytes](MappedState<Large>& state, const RecordView& record) {
    if (state->words.empty()) state->words.resize(state_bytes / sizeof(std::uint64_t), 1);
    state->words[record.sequence] += record.sequence;
  };
}

/// A projection whose newest snapshot holds all that is in the log.
bool make_large(const ReadyLog& log, std::uint64_t state_bytes) {
  if (!append_some(log, 1000)) return false;
  auto projection =
      Projection<Large>::open(log.path, large_options(Verify::up_front), grow_to(state_bytes));
  return said(projection) && said(projection->poll()) && said(projection->snapshot()) &&
         said(projection->close());
}

double open_ns(const ReadyLog& log, std::uint64_t state_bytes, Verify verify) {
  return timed_ns([&] {
    auto projection =
        Projection<Large>::open(log.path, large_options(verify), grow_to(state_bytes));
    return said(projection) && projection->progress().started_behind != 0;
  });
}

std::filesystem::path only_snapshot(const ReadyLog& log) {
  const auto found = list_snapshots(log.path, kState);
  return found && found->size() == 1 ? log.path / found->front().path : std::filesystem::path();
}

double hash_file_ns(const std::filesystem::path& path) {
  return timed_ns([&] {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    const std::uint64_t size = std::filesystem::file_size(path);
    void* const at = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
    ::close(fd);
    if (at == MAP_FAILED) return false;
    const XXH128_hash_t hash = XXH3_128bits(at, size);
    ::munmap(at, size);
    return (hash.low64 | hash.high64) != 0;
  });
}

double read_file_ns(const std::filesystem::path& path) {
  return timed_ns([&] {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    std::vector<std::byte> piece(std::size_t{1} << 20);
    XXH3_state_t* const hash = XXH3_createState();
    XXH3_128bits_reset(hash);
    ssize_t got = 0;
    while ((got = ::read(fd, piece.data(), piece.size())) > 0) {
      XXH3_128bits_update(hash, piece.data(), static_cast<std::size_t>(got));
    }
    ::close(fd);
    const XXH128_hash_t digest = XXH3_128bits_digest(hash);
    XXH3_freeState(hash);
    return got == 0 && (digest.low64 | digest.high64) != 0;
  });
}

/// Stores one byte in every page, in an order without any.
std::vector<std::uint32_t> touch_pages(MappedVector<std::uint64_t>& words) {
  const std::uint64_t per_page = kPageBytes / sizeof(std::uint64_t);
  const std::uint64_t pages = words.size() / per_page;
  std::vector<std::uint32_t> ns;
  ns.reserve(pages);
  std::uint64_t page = 0;
  for (std::uint64_t i = 0; i < pages; ++i) {
    page = (page + 7919) % pages;
    const std::int64_t start = monotonic_ns();
    std::atomic_ref(words[page * per_page]).fetch_add(1, std::memory_order_relaxed);
    ns.push_back(static_cast<std::uint32_t>(std::min<std::int64_t>(monotonic_ns() - start, ~0u)));
  }
  return ns;
}

struct Written {
  double pause_ns = 0;
  double touch_p99_ns = 0;
};
bool write_state(const ReadyLog& log, MappedState<Large>& state, const Stamp& stamp, Written& out) {
  auto writer = SnapshotWriter::create(log.path, kState, state_schema<Large>("1"), stamp);
  if (!said(writer)) return false;
  out.pause_ns = timed_ns([&] { return said(state.write_to(*writer)); });
  std::vector<std::uint32_t> ns = touch_pages(state->words);
  out.touch_p99_ns = percentiles(ns).p99;
  return said(writer->publish({.keep = 1}));
}

}  // namespace

Restart restart(const std::filesystem::path& scratch, std::uint64_t state_bytes) {
  const StateLog directory(scratch);
  const ReadyLog log = directory.log();
  Shared<Restart> run;
  const bool good =
      run_processes({[&] { return make_large(log, state_bytes); }}) && run_processes({[&] {
        pin(1);
        const std::filesystem::path file = only_snapshot(log);
        if (file.empty() || hash_file_ns(file) == 0) return false;  // warm now
        run->trusted_ns = open_ns(log, state_bytes, Verify::trusted);
        run->hash_ns = hash_file_ns(file);
        run->verified_ns = open_ns(log, state_bytes, Verify::up_front);
        run->read_ns = read_file_ns(file);
        return true;
      }});
  return good ? *run : Restart{};
}

Pause pause(const std::filesystem::path& scratch, std::uint64_t state_bytes) {
  const StateLog directory(scratch);
  const ReadyLog log = directory.log();
  Shared<Pause> run;
  const bool good = run_processes({[&] {
    pin(1);
    if (!append_some(log, 10)) return false;
    ConsumerOptions options;
    options.create.emplace();
    auto consumer = Consumer::open(log.path, "stamps", options);
    if (!said(consumer)) return false;
    RecordView record;
    while (consumer->next(record) == Delivery::record) {
    }
    const Stamp stamp = consumer->stamp();
    Written fresh;
    Written restarted;
    {
      auto state = MappedState<Large>::create();
      if (!said(state)) return false;
      (*state)->words.resize(state_bytes / sizeof(std::uint64_t), 1);
      if (!write_state(log, *state, stamp, fresh)) return false;
    }
    auto snapshot = Snapshot::open_latest(log.path, kState, state_schema<Large>("1"),
                                          {.verify = Verify::trusted});
    if (!said(snapshot)) return false;
    auto state = MappedState<Large>::open(*snapshot);
    if (!said(state)) return false;
    static_cast<void>(touch_pages((*state)->words));
    if (!write_state(log, *state, stamp, restarted)) return false;
    *run = {.fresh_ns = fresh.pause_ns,
            .restarted_ns = restarted.pause_ns,
            .touch_ns = fresh.touch_p99_ns};
    return true;
  }});
  return good ? *run : Pause{};
}

FoldRate fold_rate(const std::filesystem::path& scratch, std::uint64_t records) {
  const StateLog directory(scratch);
  const ReadyLog log = directory.log();
  Shared<FoldRate> run;
  const bool good =
      run_processes({[&] { return append_some(log, records); }}) && run_processes({[&] {
        pin(1);
        Reader reader = open_reader(log, {});
        RecordView record;
        run->replay_ns = median_piece_ns(records, monotonic_ns, [&](std::uint64_t n) {
          for (; n > 0; --n) {
            if (reader.next(record) != Outcome::record) return false;
          }
          return true;
        });
        ProjectionOptions options = large_options(Verify::up_front);
        options.follow = Follow::committed;
        auto projection = Projection<Sum>::open(
            log.path, options, [](MappedState<Sum>& state, const RecordView& folded) {
              std::uint64_t word = 0;
              std::memcpy(&word, folded.payload.data(), sizeof word);
              state->sum += word;
            });
        if (!said(projection)) return false;
        run->fold_ns = median_piece_ns(records, monotonic_ns, [&](std::uint64_t n) {
          while (n > 0) {
            const auto folded = projection->poll(n);
            if (!said(folded) || *folded == 0) return false;
            n -= *folded;
          }
          return true;
        });
        return run->replay_ns != 0 && run->fold_ns != 0 &&
               projection->state()->sum == records * (records - 1) / 2;
      }});
  return good ? *run : FoldRate{};
}

}  // namespace tailrace::bench
