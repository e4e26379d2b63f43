#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>

namespace tailrace {

class UserShares;

/// A part of what a user may take; given back when it goes.
class Share {
 public:
  Share() = default;
  Share(Share&& other) noexcept
      : of_(std::move(other.of_)),
        uid_(other.uid_),
        clients_(std::exchange(other.clients_, 0)),
        bytes_(std::exchange(other.bytes_, 0)) {}
  Share& operator=(Share&& other) noexcept {
    std::swap(of_, other.of_);
    std::swap(uid_, other.uid_);
    std::swap(clients_, other.clients_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Share();
  /// Memory as well. False: that would be more than the user may have.
  [[nodiscard]] bool take(std::size_t bytes);
  /// Memory of the same user, as a share of its own.
  [[nodiscard]] std::optional<Share> another(std::size_t bytes) const;

 private:
  friend class UserShares;
  Share(std::shared_ptr<UserShares> of, std::uint32_t uid, std::size_t clients)
      : of_(std::move(of)), uid_(uid), clients_(clients) {}
  std::shared_ptr<UserShares> of_;
  std::uint32_t uid_ = 0;
  std::size_t clients_ = 0;
  std::size_t bytes_ = 0;
};

/// How much of the server each user has. Threads: any.
class UserShares : public std::enable_shared_from_this<UserShares> {
 public:
  struct Limits {
    std::size_t clients_per_user;
    std::size_t bytes_per_user;
    std::size_t clients;
  };
  explicit UserShares(const Limits& limits) : limits_(limits) {}

  /// A connection; `at_most`: fewer than the limit. Nothing: the user, or all together, have as
  /// many as they may.
  [[nodiscard]] std::optional<Share> take(std::uint32_t uid, std::size_t at_most) {
    const std::lock_guard lock(mutex_);
    User& user = users_[uid];
    const bool full = uid != 0 && (user.clients >= limits_.clients_per_user ||
                                   user.clients >= at_most || clients_ >= limits_.clients);
    if (full) {
      forget(uid, user);
      return std::nullopt;
    }
    ++user.clients;
    ++clients_;
    return Share(shared_from_this(), uid, 1);
  }

 private:
  friend class Share;
  struct User {
    std::size_t clients = 0;
    std::size_t bytes = 0;
  };
  bool take_bytes(std::uint32_t uid, std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    User& user = users_[uid];
    if (uid != 0 && bytes > limits_.bytes_per_user - user.bytes) return false;
    user.bytes += bytes;
    return true;
  }
  void give_back(std::uint32_t uid, std::size_t clients, std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    User& user = users_[uid];
    user.clients -= clients;
    clients_ -= clients;
    user.bytes -= bytes;
    forget(uid, user);
  }
  void forget(std::uint32_t uid, const User& user) {
    if (user.clients == 0 && user.bytes == 0) users_.erase(uid);
  }

  const Limits limits_;
  std::mutex mutex_;
  std::unordered_map<std::uint32_t, User> users_;
  std::size_t clients_ = 0;
};

inline Share::~Share() {
  if (of_) of_->give_back(uid_, clients_, bytes_);
}

inline bool Share::take(std::size_t bytes) {
  if (!of_->take_bytes(uid_, bytes)) return false;
  bytes_ += bytes;
  return true;
}

inline std::optional<Share> Share::another(std::size_t bytes) const {
  Share share(of_, uid_, 0);
  if (!share.take(bytes)) return std::nullopt;
  return share;
}

}  // namespace tailrace
