#include "cli/top_view.h"

namespace tailrace::cli {
namespace {

double rate(std::uint64_t now, std::uint64_t before, double seconds) {
  return now < before ? 0.0 : static_cast<double>(now - before) / seconds;
}

/// Of those clients that were there at both looks.
std::map<std::uint64_t, ClientRates> client_rates(const TopLook& before, const TopLook& now) {
  std::map<std::uint64_t, ClientRates> out;
  if (before.stats.epoch != now.stats.epoch) return out;  // other clients have these numbers
  const double seconds = static_cast<double>(now.steady_ns - before.steady_ns) / 1e9;
  std::map<std::uint64_t, const ClientInfo*> earlier;
  for (const ClientInfo& old : before.clients) earlier[old.client] = &old;
  for (const ClientInfo& client : now.clients) {
    const auto old = earlier.find(client.client);
    if (old == earlier.end()) continue;
    out[client.client] = {rate(client.requests, old->second->requests, seconds),
                          rate(client.conflicts, old->second->conflicts, seconds)};
  }
  return out;
}

}  // namespace

void TopHistory::add(TopLook look) {
  if (any_ && look.steady_ns > newest_.steady_ns) {
    const double seconds = static_cast<double>(look.steady_ns - newest_.steady_ns) / 1e9;
    client_rates_ = client_rates(newest_, look);
    const bool same_writer = look.stats.epoch == newest_.stats.epoch;
    rates_ =
        TopRates{rate(look.stats.committed_sequence, newest_.stats.committed_sequence, seconds),
                 rate(look.list.committed.position, newest_.list.committed.position, seconds),
                 rate(look.stats.commits, same_writer ? newest_.stats.commits : 0, seconds)};
  }
  any_ = true;
  std::map<std::string, std::deque<std::uint64_t>> kept;  // without those that were removed
  for (const ConsumerInfo& info : look.list.consumers) {
    const std::string id = info.id.to_string();
    auto& lags = kept[id] = std::move(lags_[id]);
    lags.push_back(info.lag_records);
    if (lags.size() > kKept) lags.pop_front();
  }
  lags_ = std::move(kept);
  newest_ = std::move(look);
}

const std::deque<std::uint64_t>& TopHistory::lags(const ConsumerInfo& consumer) const {
  static const std::deque<std::uint64_t> none;
  const auto found = lags_.find(consumer.id.to_string());
  return found == lags_.end() ? none : found->second;
}

std::optional<ClientRates> TopHistory::rates(const ClientInfo& client) const {
  const auto found = client_rates_.find(client.client);
  return found == client_rates_.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace tailrace::cli
