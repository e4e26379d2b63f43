#include "sink/redis_store.h"

#include <fmt/format.h>
#include <sys/time.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/planted.h"

namespace tailrace::sink {
namespace {

constexpr timeval kConnectTimeout{2, 0};
constexpr timeval kAnswerTimeout{30, 0};

/// KEYS: stamp, tombstones, keys set aside, mark. ARGV: the stamp we left (empty: none), the new
/// one, whether rows may be newer than what comes, how many keys are set aside and these with their
/// sequences; then each row's key and value. A value begins with its place in the log, 20 digits of
/// the epoch and 20 of the sequence, so that places compare as texts; nothing behind it: a
/// tombstone, which goes when the stamp has passed it. The mark stays as long as there may be rows.
constexpr std::string_view kScript = R"(
local stored = redis.call('GET', KEYS[1])
if (stored or '') ~= ARGV[1] then return stored or '' end
if stored then
  local passed = string.sub(stored, 1, 40)
  local graves = redis.call('ZRANGEBYLEX', KEYS[2], '-', '(' .. passed .. '~', 'LIMIT', 0, 1000)
  for _, grave in ipairs(graves) do
    local key = string.sub(grave, 41)
    if redis.call('GET', key) == string.sub(grave, 1, 40) then redis.call('DEL', key) end
    redis.call('ZREM', KEYS[2], grave)
  end
end
local aside = tonumber(ARGV[4])
for i = 1, aside do redis.call('HSETNX', KEYS[3], ARGV[3 + 2 * i], ARGV[4 + 2 * i]) end
local first = 5 + 2 * aside
if ARGV[3] == 'newer' then
  for i = first, #ARGV, 2 do
    local have = redis.call('GET', ARGV[i])
    if not have or string.sub(have, 1, 40) <= string.sub(ARGV[i + 1], 1, 40) then
      redis.call('SET', ARGV[i], ARGV[i + 1])
      if #ARGV[i + 1] == 40 then redis.call('ZADD', KEYS[2], 0, ARGV[i + 1] .. ARGV[i]) end
    end
  end
else
  for i = first, #ARGV, 1000 do
    redis.call('MSET', unpack(ARGV, i, math.min(i + 999, #ARGV)))
  end
  for i = first, #ARGV, 2 do
    if #ARGV[i + 1] == 40 then redis.call('ZADD', KEYS[2], 0, ARGV[i + 1] .. ARGV[i]) end
  end
end
redis.call('MSET', KEYS[1], ARGV[2], KEYS[4], 'rows of a tailrace sink')
return 'ok'
)";

std::string script() {
  std::string text(kScript);
  const auto plant = [&](Mistake mistake, std::string_view right, std::string_view wrong) {
    if (planted(mistake)) text.replace(text.find(right), right.size(), wrong);
  };
  plant(Mistake::redis_older_wins, "string.sub(have, 1, 40) <= string.sub(ARGV[i + 1], 1, 40)",
        "true");
  plant(Mistake::redis_stamp_not_compared, "(stored or '') ~= ARGV[1]", "false");
  return text;
}

std::string place_of(Epoch epoch, Sequence sequence) {
  return fmt::format("{:020}{:020}", epoch, sequence);
}

/// What is kept under the stamp's key: the place, and what else makes a stamp.
std::string text_of(const Stamp& stamp, const std::string& log_id, const std::string& sink) {
  return fmt::format("{} {} {} {} {} {}", place_of(stamp.epoch, stamp.sequence), stamp.position,
                     stamp.size, stamp.crc, log_id, sink);
}

template <class Number>
bool take_number(std::string_view& text, std::size_t digits, Number& out) {
  const std::string_view part = text.substr(0, digits);
  const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), out);
  if (error != std::errc() || end != part.data() + part.size()) return false;
  text.remove_prefix(part.size());
  if (text.starts_with(' ')) text.remove_prefix(1);
  return true;
}

struct StoredStamp {
  Stamp stamp;
  std::string_view log_id;
  std::string_view sink;
};

std::optional<StoredStamp> parse_stamp(std::string_view text) {
  StoredStamp out;
  Stamp& stamp = out.stamp;
  if (text.size() < 41 || !take_number(text, 20, stamp.epoch) ||
      !take_number(text, 20, stamp.sequence) ||
      !take_number(text, text.find(' '), stamp.position) ||
      !take_number(text, text.find(' '), stamp.size) ||
      !take_number(text, text.find(' '), stamp.crc) || text.size() < 34 || text[32] != ' ') {
    return std::nullopt;
  }
  out.log_id = text.substr(0, 32);
  out.sink = text.substr(33);
  return out;
}

std::string key_text(const Value& value) {
  if (const auto* const whole = std::get_if<std::int64_t>(&value)) return fmt::format("{}", *whole);
  if (const auto* const real = std::get_if<double>(&value)) return fmt::format("{}", *real);
  if (const auto* const blob = std::get_if<Blob>(&value)) return blob->bytes;
  return std::get<std::string>(value);
}

std::string_view text_of(const redisReply& reply) { return {reply.str, reply.len}; }

/// With quotes. Most texts need nothing else.
void append_json_text(std::string_view text, std::string& to) {
  const auto is_plain = [](char c) {
    return static_cast<unsigned char>(c) >= 0x20 && static_cast<unsigned char>(c) < 0x7F &&
           c != '"' && c != '\\';
  };
  if (std::all_of(text.begin(), text.end(), is_plain)) {
    to += '"';
    to += text;
    to += '"';
    return;
  }
  to += nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// Redis says what kind of error it is with its first word.
Trouble trouble_of(std::string_view error) {
  for (const std::string_view word : {"LOADING", "BUSY", "MASTERDOWN", "READONLY", "OOM", "MISCONF",
                                      "TRYAGAIN", "CLUSTERDOWN", "NOSCRIPT", "UNKILLABLE"}) {
    if (error.starts_with(word)) return {Trouble::Kind::passing, std::string(error)};
  }
  return {Trouble::Kind::fatal, std::string(error)};
}

}  // namespace

RedisStore::RedisStore(std::string address, const Mapping& mapping, Owner owner)
    : address_(std::move(address)),
      mapping_(mapping),
      owner_(std::move(owner)),
      log_id_(owner_.log_id.to_string()),
      stamp_key_(mapping.table + ":tailrace:stamp"),
      graves_key_(mapping.table + ":tailrace:tombstones"),
      aside_key_(mapping.table + ":tailrace:set_aside"),
      mark_key_(mapping.table + ":tailrace:mark") {}

std::string RedisStore::name() const { return fmt::format("{}, {}:*", address_, mapping_.table); }

Trouble RedisStore::connection_trouble() const {
  return {Trouble::Kind::passing,
          fmt::format("{}: {}", address_, context_ ? context_->errstr : "no memory")};
}

Stored<RedisStore::Reply> RedisStore::call(const std::vector<std::string_view>& words) {
  std::vector<const char*> at;
  std::vector<std::size_t> sizes;
  at.reserve(words.size());
  sizes.reserve(words.size());
  for (const std::string_view word : words) {
    at.push_back(word.data());
    sizes.push_back(word.size());
  }
  Reply reply(static_cast<redisReply*>(
      redisCommandArgv(context_.get(), static_cast<int>(at.size()), at.data(), sizes.data())));
  if (!reply) return tl::unexpected(connection_trouble());
  if (reply->type == REDIS_REPLY_ERROR) return tl::unexpected(trouble_of(text_of(*reply)));
  return reply;
}

Stored<std::optional<Stamp>> RedisStore::open() {
  const std::size_t colon = address_.rfind(':');
  if (address_.find('/') != std::string::npos || colon == std::string::npos) {
    context_.reset(redisConnectUnixWithTimeout(address_.c_str(), kConnectTimeout));
  } else {
    int port = 0;
    std::from_chars(address_.data() + colon + 1, address_.data() + address_.size(), port);
    context_.reset(
        redisConnectWithTimeout(address_.substr(0, colon).c_str(), port, kConnectTimeout));
  }
  if (!context_ || context_->err != 0) return tl::unexpected(connection_trouble());
  redisSetTimeout(context_.get(), kAnswerTimeout);
  const auto loaded = call({"SCRIPT", "LOAD", script()});
  if (!loaded) return tl::unexpected(loaded.error());
  script_ = text_of(**loaded);
  const auto found = call({"MGET", stamp_key_, mark_key_});
  if (!found) return tl::unexpected(found.error());
  const redisReply& stamp_reply = *(*found)->element[0];
  if (stamp_reply.type == REDIS_REPLY_NIL) {
    // With the mark, somebody has removed the stamp alone: rows are newer than what comes again.
    newer_rows_ = (*found)->element[1]->type != REDIS_REPLY_NIL;
    return std::optional<Stamp>();
  }
  // Both change as one: there are no rows beyond a stamp that was never lost.
  const auto stored = parse_stamp(text_of(stamp_reply));
  if (!stored) {
    return fatal(fmt::format("{}: {} does not hold a stamp", address_, stamp_key_),
                 fmt::format("give the mapping another table, or delete {}", stamp_key_));
  }
  if (stored->log_id != log_id_ || stored->sink != owner_.sink) {
    return belongs_to_another(name(), std::string(stored->sink), std::string(stored->log_id));
  }
  Stamp stamp = stored->stamp;
  stamp.log_id = owner_.log_id;
  return std::optional(stamp);
}

std::string RedisStore::row_key(const Change& change) const {
  std::string key = mapping_.table;
  for (std::size_t i = 0; i < mapping_.columns.size(); ++i) {
    if (mapping_.columns[i].is_key) key += ':' + key_text(change.values[i]);
  }
  return key;
}

void RedisStore::append_row(const Change& change, std::string& to) const {
  char before = '{';
  for (std::size_t i = 0; i < mapping_.columns.size(); ++i) {
    fmt::format_to(std::back_inserter(to), "{}\"{}\":", std::exchange(before, ','),
                   mapping_.columns[i].name);
    const Value& value = change.values[i];
    if (const auto* const whole = std::get_if<std::int64_t>(&value)) {
      fmt::format_to(std::back_inserter(to), "{}", *whole);
    } else if (const auto* const real = std::get_if<double>(&value)) {
      fmt::format_to(std::back_inserter(to), "{}", *real);
    } else if (const auto* const text = std::get_if<std::string>(&value)) {
      append_json_text(*text, to);
    } else if (const auto* const blob = std::get_if<Blob>(&value)) {
      append_json_text(blob->bytes, to);
    } else {
      to += "null";
    }
  }
  to += '}';
}

Stored<void> RedisStore::commit(std::span<const Change> changes, const std::optional<Stamp>& from,
                                const Stamp& to, std::span<const SetAside> set_aside,
                                std::size_t& failed) {
  failed = std::numeric_limits<std::size_t>::max();
  std::vector<std::string> values = {from ? text_of(*from, log_id_, owner_.sink) : std::string(),
                                     text_of(to, log_id_, owner_.sink), newer_rows_ ? "newer" : "",
                                     fmt::format("{}", set_aside.size())};
  values.reserve(values.size() + 2 * (set_aside.size() + changes.size()));
  for (const SetAside& one : set_aside) {
    values.push_back(one.key);
    values.push_back(fmt::format("{}", one.sequence));
  }
  for (const Change& change : changes) {
    if (change.action == Action::ignore) continue;
    values.push_back(row_key(change));
    std::string& value = values.emplace_back(place_of(change.epoch, change.sequence));
    if (change.action != Action::remove) append_row(change, value);
  }
  std::vector<std::string_view> words = {"EVALSHA",   script_,    "4",      stamp_key_,
                                         graves_key_, aside_key_, mark_key_};
  words.insert(words.end(), values.begin(), values.end());
  const auto done = call(words);
  if (!done) return tl::unexpected(done.error());
  if (text_of(**done) == "ok") return {};
  // Redis has lost it, or has come back with an older one: that is where we go on from.
  return tl::unexpected(
      Trouble{Trouble::Kind::passing,
              fmt::format("{}: {} is not what this sink left there{}", address_, stamp_key_,
                          text_of(**done).empty() ? ": it is gone" : "")});
}

Stored<std::vector<SetAside>> RedisStore::set_aside() {
  const auto found = call({"HGETALL", aside_key_});
  if (!found) return tl::unexpected(found.error());
  std::vector<SetAside> all;
  const redisReply& reply = **found;
  for (std::size_t i = 0; i + 1 < reply.elements; i += 2) {
    SetAside& one = all.emplace_back();
    one.key = text_of(*reply.element[i]);
    std::string_view number = text_of(*reply.element[i + 1]);
    static_cast<void>(take_number(number, number.size(), one.sequence));
  }
  return all;
}

}  // namespace tailrace::sink
