#pragma once

#include <tailrace/consumers.h>
#include <tailrace/log.h>
#include <tailrace/server.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

/// What `tailrace top` shows of one look at a log and of the looks before. No terminal here: text
/// of a given size.
namespace tailrace::cli {

/// One look.
struct TopLook {
  std::int64_t steady_ns = 0;
  LogStats stats;
  ConsumerList list;
  std::vector<ClientInfo> clients;
};

/// Between two looks; none at the first one.
struct TopRates {
  double records_per_s = 0;
  double bytes_per_s = 0;
  double commits_per_s = 0;
};

/// What a client has done between two looks.
struct ClientRates {
  double requests_per_s = 0;
  double conflicts_per_s = 0;
};

/// The newest look, the rates since the one before, and each consumer's lag over the last ones.
class TopHistory {
 public:
  void add(TopLook look);
  [[nodiscard]] const TopLook& newest() const noexcept { return newest_; }
  [[nodiscard]] const std::optional<TopRates>& rates() const noexcept { return rates_; }
  /// Lags in records, the oldest first, at most kKept.
  [[nodiscard]] const std::deque<std::uint64_t>& lags(const ConsumerInfo& consumer) const;
  static constexpr std::size_t kKept = 60;
  /// None if it was not there at the look before.
  [[nodiscard]] std::optional<ClientRates> rates(const ClientInfo& client) const;

 private:
  TopLook newest_;
  std::optional<TopRates> rates_;
  bool any_ = false;
  std::map<std::string, std::deque<std::uint64_t>> lags_;  // by the consumer's id
  std::map<std::uint64_t, ClientRates> client_rates_;      // by number
};

struct TopStyle {
  std::size_t columns = 80;
  std::size_t rows = 24;
  bool utf8 = false;
  bool coloured = false;
};

/// The screen, line by line: none is wider than style.columns, nor are there more than style.rows.
[[nodiscard]] std::vector<std::string> top_screen(const std::string& log, const TopHistory& history,
                                                  const TopStyle& style);

/// A line for the log and one for each consumer and client, "name=value" throughout.
[[nodiscard]] std::string top_lines(const TopHistory& history);

/// One JSON object in a line.
[[nodiscard]] std::string top_json(const TopHistory& history);

/// Lags as bars of equal width, the highest of them full, at most `width` of the newest.
[[nodiscard]] std::string sparkline(const std::deque<std::uint64_t>& lags, std::size_t width,
                                    bool utf8);

}  // namespace tailrace::cli
