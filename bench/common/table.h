#pragma once

#include <string>
#include <vector>

#include "common/stats.h"

/// The table that the end-to-end programs print: Tailrace beside the machine's own limit.
namespace tailrace::bench {

/// How a figure is told. Rounds are nanoseconds per record or per round trip in either case.
enum class Shown { nanoseconds, millions_per_second };

struct Figure {
  std::string name;
  Shown shown = Shown::nanoseconds;
  /// nanoseconds: Tailrace may take at most this times the limit's time. millions_per_second: it
  /// must reach at least this share of the limit's rate. 0 = no target, told for comparison.
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
