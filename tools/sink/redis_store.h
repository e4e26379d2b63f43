#pragma once

#include <hiredis/hiredis.h>

#include <memory>

#include "sink/store.h"

namespace tailrace::sink {

/// Rows of a Redis database, one string each; a batch and the stamp change in one script. For a
/// cache: where Redis has lost the stamp, or has an older one, all since comes again. What the keys
/// hold, and when a reader may believe them: docs/sinks.md#redis
class RedisStore final : public Store {
 public:
  /// `address`: "host:port" or the path of a unix socket. `mapping` outlives it.
  RedisStore(std::string address, const Mapping& mapping, Owner owner);

  Stored<std::optional<Stamp>> open() override;
  Stored<void> commit(std::span<const Change> changes, const std::optional<Stamp>& from,
                      const Stamp& to, std::span<const SetAside> set_aside,
                      std::size_t& failed) override;
  Stored<std::vector<SetAside>> set_aside() override;
  std::string name() const override;

 private:
  struct Free {
    void operator()(redisContext* context) const noexcept { redisFree(context); }
  };
  struct FreeReply {
    void operator()(redisReply* reply) const noexcept { freeReplyObject(reply); }
  };
  using Reply = std::unique_ptr<redisReply, FreeReply>;

  [[nodiscard]] Stored<Reply> call(const std::vector<std::string_view>& words);
  [[nodiscard]] std::string row_key(const Change& change) const;
  void append_row(const Change& change, std::string& to) const;
  [[nodiscard]] Trouble connection_trouble() const;

  std::string address_;
  const Mapping& mapping_;
  Owner owner_;
  std::string log_id_;
  std::string stamp_key_;
  std::string graves_key_;
  std::string aside_key_;
  std::string mark_key_;
  bool newer_rows_ = false;  // rows may be of records that are still to come again
  std::string script_;       // its SHA-1, as Redis calls it
  std::unique_ptr<redisContext, Free> context_;
};

}  // namespace tailrace::sink
