#pragma once

#include <string>
#include <vector>

#include "common/stats.h"

/// The table that the end-to-end programs print: Tailrace beside the machine's own limit.
namespace tailrace::bench {

/// How a figure is told. Rounds are nanoseconds per record, round trip, commit or (mib_per_second)
/// MiB in every case. The first two are times, where less is better, the others rates.
enum class Shown {
  nanoseconds,
  microseconds,
  thousands_per_second,
  millions_per_second,
  mib_per_second
};
[[nodiscard]] constexpr bool is_time(Shown how) {
  return how == Shown::nanoseconds || how == Shown::microseconds;
}

struct Figure {
  std::string name;
  Shown shown = Shown::nanoseconds;
  /// Times: Tailrace may take at most this times the limit's time. Rates: it must reach at least
  /// this share of the limit's rate. 0 = no target, told for comparison.
  double target_ratio = 0;
  Rounds ours{};   ///< empty: a figure of the machine alone
  Rounds limit{};  ///< empty: nothing to compare with

  /// Tailrace against the limit, round by round, in the sense of target_ratio.
  [[nodiscard]] Rounds ratios() const;
  [[nodiscard]] bool failed() const;  ///< a run did not get through
  [[nodiscard]] bool missed() const;
};

/// A target that is no ratio of times: a bound on one number.
struct Bound {
  std::string name;
  std::string value;  ///< as people read it
  std::string target;
  bool missed = false;
  std::string json;  ///< its numbers as members: "\"rss_bytes\":1"
};

void print_table(const std::vector<Figure>& figures, const std::vector<Bound>& bounds);
void print_json(const std::vector<Figure>& figures, const std::vector<Bound>& bounds);

/// 0, 6 when a target was missed (and that is asked for), 1 when a run failed.
[[nodiscard]] int exit_code(const std::vector<Figure>& figures, const std::vector<Bound>& bounds,
                            bool check);

}  // namespace tailrace::bench
