#pragma once

#include <libpq-fe.h>

#include <memory>

#include "sink/store.h"

namespace tailrace::sink {

/// A table of a PostgreSQL database. A batch goes out in one piece (pipeline mode); stamp and rows
/// are in one transaction. Tables beside it: docs/sinks.md#postgresql
class PostgresStore final : public Store {
 public:
  /// `conninfo`: as libpq takes it, "host=/run/postgresql dbname=shop", or a URI. `mapping`
  /// outlives it.
  PostgresStore(std::string conninfo, const Mapping& mapping, Owner owner, Existing existing);

  Stored<std::optional<Stamp>> open() override;
  Stored<void> commit(std::span<const Change> changes, const std::optional<Stamp>& from,
                      const Stamp& to, std::span<const SetAside> set_aside,
                      std::size_t& failed) override;
  Stored<std::vector<SetAside>> set_aside() override;
  std::string name() const override;

 private:
  struct Finish {
    void operator()(PGconn* connection) const noexcept { PQfinish(connection); }
  };
  struct Clear {
    void operator()(PGresult* result) const noexcept { PQclear(result); }
  };
  using PgResult = std::unique_ptr<PGresult, Clear>;

  [[nodiscard]] Stored<PgResult> run(const std::string& sql,
                                     const std::vector<std::string>& values = {});
  [[nodiscard]] Stored<std::optional<Stamp>> take_table();
  [[nodiscard]] Stored<void> make_table();
  [[nodiscard]] Stored<void> check_table();
  [[nodiscard]] Stored<void> prepare();
  [[nodiscard]] bool send(const Change& change);
  [[nodiscard]] Stored<void> send_batch(std::span<const Change> changes, std::size_t& failed);
  [[nodiscard]] Stored<void> finish_transaction(const std::optional<Stamp>& from, const Stamp& to,
                                                std::span<const SetAside> set_aside);
  [[nodiscard]] Trouble trouble_of(const PGresult* result) const;

  std::string conninfo_;
  const Mapping& mapping_;
  Owner owner_;
  std::string log_id_;
  Existing existing_;
  std::unique_ptr<PGconn, Finish> connection_;
  std::vector<std::string> texts_;  // of one change's values
  std::vector<const char*> values_;
};

}  // namespace tailrace::sink
