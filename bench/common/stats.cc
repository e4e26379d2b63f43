#include "common/stats.h"

#include <algorithm>

namespace tailrace::bench {

double Rounds::median() const {
  if (values_.empty()) return 0;
  std::vector<double> sorted = values_;
  std::sort(sorted.begin(), sorted.end());
  const std::size_t half = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

double Rounds::min() const {
  return values_.empty() ? 0 : *std::min_element(values_.begin(), values_.end());
}

double Rounds::max() const {
  return values_.empty() ? 0 : *std::max_element(values_.begin(), values_.end());
}

Rounds ratio(const Rounds& a, const Rounds& b) {
  Rounds out;
  for (std::size_t round = 0; round < std::min(a.count(), b.count()); ++round) {
    out.add(b[round] == 0 ? 0 : a[round] / b[round]);
  }
  return out;
}

Percentiles percentiles(std::vector<std::uint32_t>& samples, double unit) {
  if (samples.empty()) return {};
  std::sort(samples.begin(), samples.end());
  const auto at = [&](double share) {
    const auto last = static_cast<double>(samples.size() - 1);
    return static_cast<double>(samples[static_cast<std::size_t>(last * share)]) * unit;
  };
  return {.p50 = at(0.5),
          .p90 = at(0.9),
          .p99 = at(0.99),
          .p999 = at(0.999),
          .p9999 = at(0.9999),
          .max = at(1.0),
          .count = samples.size()};
}

}  // namespace tailrace::bench
