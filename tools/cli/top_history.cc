#include "cli/top_view.h"

namespace tailrace::cli {
namespace {

/// Of those clients that were there at both looks.
std::map<std::uint64_t, ClientRates> client_rates(const TopLook& before, const TopLook& now) {
  std::map<std::uint64_t, ClientRates> out;
  if (before.stats.epoch != now.stats.epoch) return out;  // other clients have these numbers
  const double seconds = static_cast<double>(now.steady_ns - before.steady_ns) / 1e9;
  const auto rate = [seconds](std::uint64_t newer, std::uint64_t older) {
    return newer < older ? 0.0 : static_cast<double>(newer - older) / seconds;
  };
  for (const ClientInfo& client : now.clients) {
    for (const ClientInfo& old : before.clients) {
      if (old.client != client.client) continue;
      out[client.client] = {rate(client.requests, old.requests),
                            rate(client.conflicts, old.conflicts)};
    }
  }
  return out;
}

}  // namespace

void TopHistory::add(TopLook look) {
  if (any_ && look.steady_ns > newest_.steady_ns) {
    const double seconds = static_cast<double>(look.steady_ns - newest_.steady_ns) / 1e9;
    const auto rate = [seconds](std::uint64_t now, std::uint64_t before) {
      return now < before ? 0.0 : static_cast<double>(now - before) / seconds;
    };
    const bool same_writer = look.stats.epoch == newest_.stats.epoch;
    rates_ = TopRates{rate(look.stats.committed_sequence, newest_.stats.committed_sequence),
                      rate(look.list.committed.position, newest_.list.committed.position),
                      rate(look.stats.commits, same_writer ? newest_.stats.commits : 0)};
  }
  client_rates_ = rates_ ? client_rates(newest_, look) : std::map<std::uint64_t, ClientRates>();
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
