#include "common/lmdb_peer.h"

#include "common/keyed.h"

#if __has_include(<lmdb.h>) && defined(TAILRACE_LMDB)
#include <lmdb.h>

namespace tailrace::bench {

bool has_lmdb() noexcept { return true; }

double lmdb_insert_ns(const std::filesystem::path& directory, std::uint64_t present,
                      std::uint64_t count) {
  std::filesystem::create_directory(directory);
  MDB_env* env = nullptr;
  if (mdb_env_create(&env) != 0) return 0;
  mdb_env_set_mapsize(env, std::size_t{8} << 30);
  if (mdb_env_open(env, directory.c_str(), MDB_NOSYNC, 0600) != 0) {
    mdb_env_close(env);
    return 0;
  }
  MDB_dbi dbi = 0;
  MDB_txn* txn = nullptr;
  bool fine = mdb_txn_begin(env, nullptr, 0, &txn) == 0 && mdb_dbi_open(txn, nullptr, 0, &dbi) == 0;
  char value[64] = {};
  const auto put = [&](std::uint64_t number) {
    std::string name = key_name(number);
    MDB_val key{name.size(), name.data()};
    MDB_val data{sizeof value, value};
    return mdb_put(txn, dbi, &key, &data, MDB_NOOVERWRITE) == 0;
  };
  for (std::uint64_t i = 0; fine && i < present; ++i) fine = put(i);
  fine = fine && mdb_txn_commit(txn) == 0;
  double ns = 0;
  if (fine) {
    std::uint64_t next = present;
    ns = median_piece_ns(count, now_ns, [&](std::uint64_t n) {
      for (std::uint64_t i = 0; i < n; ++i) {
        if (mdb_txn_begin(env, nullptr, 0, &txn) != 0 || !put(next++)) return false;
        if (mdb_txn_commit(txn) != 0) return false;
      }
      return true;
    });
  }
  mdb_env_close(env);
  std::filesystem::remove_all(directory);
  return ns;
}

}  // namespace tailrace::bench

#else

namespace tailrace::bench {

bool has_lmdb() noexcept { return false; }
double lmdb_insert_ns(const std::filesystem::path&, std::uint64_t, std::uint64_t) { return 0; }

}  // namespace tailrace::bench

#endif
