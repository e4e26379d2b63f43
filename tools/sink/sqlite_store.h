#pragma once

#include "sink/sqlite_database.h"

namespace tailrace::sink {

/// A table of an SQLite database. Stamp and rows are in one transaction; where the stamp is not
/// what we left there, nothing is changed. Tables beside it: docs/sinks.md#sqlite
class SqliteStore final : public Store {
 public:
  /// `mapping` outlives it.
  SqliteStore(std::string path, const Mapping& mapping, Owner owner, Existing existing);

  Stored<std::optional<Stamp>> open() override;
  Stored<void> commit(std::span<const Change> changes, const std::optional<Stamp>& from,
                      const Stamp& to, std::span<const SetAside> set_aside,
                      std::size_t& failed) override;
  Stored<std::vector<SetAside>> set_aside() override;
  std::string name() const override;

 private:
  [[nodiscard]] Stored<void> set_up();
  [[nodiscard]] Stored<std::optional<Stamp>> take_table();
  [[nodiscard]] Stored<void> make_table();
  [[nodiscard]] Stored<void> check_table();
  [[nodiscard]] Stored<void> prepare();
  [[nodiscard]] Stored<void> apply(const Change& change);
  [[nodiscard]] Stored<void> move_stamp(const std::optional<Stamp>& from, const Stamp& to);
  [[nodiscard]] Stored<void> in_transaction(std::span<const Change> changes,
                                            const std::optional<Stamp>& from, const Stamp& to,
                                            std::span<const SetAside> set_aside,
                                            std::size_t& failed);

  std::string path_;
  const Mapping& mapping_;
  Owner owner_;
  std::string log_id_;
  Existing existing_;
  SqliteDatabase database_;
  SqliteStatement insert_;
  SqliteStatement upsert_;
  SqliteStatement remove_;
  SqliteStatement move_;
  SqliteStatement put_aside_;
};

}  // namespace tailrace::sink
