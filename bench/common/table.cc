#include "common/table.h"

#include <fmt/format.h>

#include <algorithm>

namespace tailrace::bench {
namespace {

/// A nanosecond figure as it is shown.
double shown(double ns, Shown how) {
  if (ns == 0) return 0;
  switch (how) {
    case Shown::nanoseconds: return ns;
    case Shown::microseconds: return ns / 1e3;
    case Shown::thousands_per_second: return 1e6 / ns;
    case Shown::millions_per_second: return 1e3 / ns;
    case Shown::mib_per_second: return 1e9 / ns;
  }
  return 0;
}

std::string with_spread(const Rounds& rounds, Shown how) {
  if (rounds.count() == 0) return "-";
  const double a = shown(rounds.min(), how);
  const double b = shown(rounds.max(), how);
  return fmt::format("{:.1f} ({:.1f}-{:.1f})", shown(rounds.median(), how), std::min(a, b),
                     std::max(a, b));
}

const char* unit(Shown how) {
  switch (how) {
    case Shown::nanoseconds: return "ns";
    case Shown::microseconds: return "us";
    case Shown::thousands_per_second: return "k/s";
    case Shown::millions_per_second: return "M/s";
    case Shown::mib_per_second: return "MiB/s";
  }
  return "";
}

std::string verdict(const Figure& figure) {
  if (figure.failed()) return "FAILED";
  if (figure.target_ratio == 0) return "";
  return figure.missed() ? "MISSED" : "ok";
}

std::string json_rounds(const char* name, const Rounds& rounds) {
  if (rounds.count() == 0) return {};
  return fmt::format(",\"{0}_ns\":{1:.3f},\"{0}_min_ns\":{2:.3f},\"{0}_max_ns\":{3:.3f}", name,
                     rounds.median(), rounds.min(), rounds.max());
}

}  // namespace

Rounds Figure::ratios() const { return is_time(shown) ? ratio(ours, limit) : ratio(limit, ours); }

bool Figure::failed() const {
  return (ours.count() != 0 && ours.min() == 0) || (limit.count() != 0 && limit.min() == 0);
}

bool Figure::missed() const {
  if (target_ratio == 0 || failed()) return failed();
  const double reached = ratios().median();
  return is_time(shown) ? reached > target_ratio : reached < target_ratio;
}

void print_table(const std::vector<Figure>& figures, const std::vector<Bound>& bounds) {
  fmt::print("{:<38} {:>5}  {:>22}  {:>22}  {:>6}  {:>7}\n", "", "", "Tailrace", "limit", "ratio",
             "target");
  for (const Figure& figure : figures) {
    const Rounds ratios = figure.ratios();
    std::string target;
    if (figure.target_ratio != 0) {
      target = fmt::format("{}{:.2f}", is_time(figure.shown) ? "<= " : ">= ", figure.target_ratio);
    }
    fmt::print("{:<38} {:>5}  {:>22}  {:>22}  {:>6}  {:>7}  {}\n", figure.name, unit(figure.shown),
               with_spread(figure.ours, figure.shown), with_spread(figure.limit, figure.shown),
               ratios.count() == 0 ? "" : fmt::format("{:.2f}", ratios.median()), target,
               verdict(figure));
  }
  for (const Bound& bound : bounds) {
    fmt::print("{:<38} {}; target {}  {}\n", bound.name, bound.value, bound.target,
               bound.missed ? "MISSED" : "ok");
  }
}

void print_json(const std::vector<Figure>& figures, const std::vector<Bound>& bounds) {
  for (const Figure& figure : figures) {
    std::string line = fmt::format("{{\"figure\":\"{}\",\"rounds\":{}", figure.name,
                                   std::max(figure.ours.count(), figure.limit.count()));
    line += json_rounds("ours", figure.ours) + json_rounds("limit", figure.limit);
    if (figure.ratios().count() != 0)
      line += fmt::format(",\"ratio\":{:.4f}", figure.ratios().median());
    if (figure.target_ratio != 0) {
      line += fmt::format(",\"target_ratio\":{:.2f},\"missed\":{}", figure.target_ratio,
                          figure.missed());
    }
    fmt::print("{}}}\n", line);
  }
  for (const Bound& bound : bounds) {
    fmt::print("{{\"figure\":\"{}\",{},\"missed\":{}}}\n", bound.name, bound.json, bound.missed);
  }
}

int exit_code(const std::vector<Figure>& figures, const std::vector<Bound>& bounds, bool check) {
  const auto failed = [](const Figure& figure) { return figure.failed(); };
  if (std::any_of(figures.begin(), figures.end(), failed)) return 1;
  const auto missed = [](const Figure& figure) { return figure.missed(); };
  const auto broken = [](const Bound& bound) { return bound.missed; };
  const bool any = std::any_of(figures.begin(), figures.end(), missed) ||
                   std::any_of(bounds.begin(), bounds.end(), broken);
  return check && any ? 6 : 0;
}

}  // namespace tailrace::bench
