"""tailrace sink sqlite: exactly once, whatever is killed, copied back or moved meanwhile."""

import json
import random
import shutil
import sqlite3
import time
import unittest

from sinks import DELETE, INSERT, STOP, USERS, SinkTest, changes, seed
from cli import PATIENCE_S


class Sqlite(SinkTest):
    KIND = "sqlite"

    def setUp(self):
        super().setUp()
        self.database = self.folder / "shop.db"

    def sql(self, text, *values):
        database = sqlite3.connect(self.database, timeout=PATIENCE_S)
        try:
            with database:
                return database.execute(text, values).fetchall()
        finally:
            database.close()

    def rows(self):
        return {name: tuple(row) for name, *row in self.sql("SELECT name, city, age, seq FROM users")}

    def stamp(self):
        return self.sql("SELECT epoch, sequence, position, size, crc FROM tailrace_sinks")[0]

    def test_rows_are_what_a_clean_fold_gives(self):
        self.add(*changes(random.Random(1), 2000))
        self.sink()
        self.assertEqual(self.rows(), self.expected())
        self.assertEqual(self.sink("--json").json[0]["records"], 0)
        self.add(*changes(random.Random(2), 100))
        self.assertEqual(self.sink("--json").json[0]["records"], 100)
        self.assertEqual(self.rows(), self.expected())

    def test_killed_at_random_each_record_counts_once(self):
        random_ = random.Random(seed())
        # Each record adds to a table without keys: one that came twice, or not at all, would be seen.
        self.mapping({"table": "entries", "otherwise": "insert",
                      "columns": {"seq": {"value": "sequence", "type": "integer"}}})
        self.add(*changes(random_, 6000))
        self.kill_at_random(random_, 25)
        rows = self.sql("SELECT seq FROM entries ORDER BY rowid")
        self.assertEqual([row[0] for row in rows], list(range(1, 6001)))

    def test_a_database_from_a_backup_goes_on_from_where_it_stands(self):
        self.add(*changes(random.Random(3), 500))
        self.sink()
        shutil.copy(self.database, self.folder / "backup.db")
        self.add(*changes(random.Random(4), 500))
        self.run_cli("consumers", self.log, "create", "index", "--after", "users")
        self.sink()
        self.run_cli("consumers", self.log, "commit", "index", 900)
        for suffix in ("", "-wal", "-shm"):
            self.database.with_name(f"shop.db{suffix}").unlink(missing_ok=True)
        shutil.copy(self.folder / "backup.db", self.database)
        done = self.sink("--json")
        self.assertIn("consumer index is at 900, ahead of", done.err)
        self.assertEqual(done.json[0]["records"], 500)
        self.assertEqual(self.rows(), self.expected())

    def test_a_lost_database_is_filled_again(self):
        self.add(*changes(random.Random(5), 500))
        self.sink()
        for file in self.folder.glob("shop.db*"):
            file.unlink()
        self.assertEqual(self.sink("--json").json[0]["records"], 500)
        self.assertEqual(self.rows(), self.expected())

    def test_two_sinks_cannot_be_at_work(self):
        self.add(self.user("ada"))
        process = self.start(*self.args("--follow"))
        self.wait_until("ada is there", lambda: self.database.exists() and self.has_row())
        done = self.sink(code=7)
        self.assertIn(str(process.pid), done.err)
        # Another one, of a copy of the log say, has moved the stamp: nothing is stored, and the sink ends.
        before = self.stamp()
        self.sql("UPDATE tailrace_sinks SET sequence = sequence + 1, position = position + 32")
        self.add(self.user("bob"))
        self.expect_exit(process, 7)
        self.assertIn("not where this process left it", process.stderr.read().decode())
        self.assertEqual(set(self.rows()), {"ada"})
        self.assertNotEqual(self.stamp(), before)

    def has_row(self):
        try:
            return bool(self.sql("SELECT 1 FROM users"))
        except sqlite3.OperationalError:
            return False

    def test_a_stamp_that_is_not_of_this_log_stops_the_sink(self):
        self.add(self.user("ada"), self.user("bob"))
        self.sink()
        self.sql("UPDATE tailrace_sinks SET crc = crc + 1")
        done = self.sink(code=4)
        self.assertIn("is not in this log", done.err)

    def test_a_record_that_cannot_be_stops_the_sink_behind_the_one_before(self):
        self.add(self.user("ada"), self.user("bob", type_=INSERT), self.user("bob", type_=INSERT), self.user("eve"))
        done = self.sink(code=1)
        self.assertIn("record 3 cannot be stored", done.err)
        self.assertIn("UNIQUE", done.err)
        self.assertEqual(set(self.rows()), {"ada", "bob"})
        self.assertEqual(self.stamp()[1], 2)
        self.sink(code=1)  # and does so again
        self.assertEqual(set(self.rows()), {"ada", "bob"})

    def test_so_do_records_that_do_not_fit_the_mapping(self):
        for bad, why in ((self.user("x", age="old"), "column \"age\" is integer"),
                         ({"type": 1, "data": "no json"}, "no JSON"),
                         ({"type": 1, "data": "[1]"}, "no JSON object"),
                         ({"type": 1, "data": "{}"}, "column \"name\" needs a value"),
                         (self.user("x", type_=STOP), "must not come")):
            with self.subTest(why):
                self.setUp()
                self.add(self.user("ada"), bad, self.user("eve"))
                self.assertIn(why, self.sink(code=1).err)
                self.assertEqual(set(self.rows()), {"ada"})

    def test_what_cannot_be_stored_is_kept_in_another_log(self):
        self.create(self.folder / "refused")
        bad = [self.user("bob", type_=INSERT), {"type": 1, "keys": ["k"], "data": "no json"}]
        self.add(self.user("ada"), self.user("bob", type_=INSERT), bad[0], bad[1], self.user("eve"))
        done = self.sink("--dead-letter", self.folder / "refused", "--json")
        self.assertEqual((done.json[0]["sequence"], done.json[0]["set_aside"]), (5, 2))
        self.assertEqual(set(self.rows()), {"ada", "bob", "eve"})
        kept = self.run_cli("read", self.folder / "refused", "--json").json
        self.assertEqual([json.loads(one["data"])["sequence"] for one in kept[::2]], [4, 3])
        self.assertEqual([one["data"] for one in kept[1::2]], [bad[1]["data"], bad[0]["data"]])
        # Told again, they are there once.
        self.sql("UPDATE tailrace_sinks SET epoch=0, sequence=0, position=0, size=0, crc=0")
        self.sql("DELETE FROM users")
        self.sink("--dead-letter", self.folder / "refused")
        self.assertEqual(len(self.run_cli("read", self.folder / "refused", "--json").json), 4)

    def test_and_so_are_later_ones_of_its_key_where_that_is_asked_for(self):
        self.create(self.folder / "refused")
        flags = ("--dead-letter", self.folder / "refused", "--dead-letter-key-stops")
        self.add(self.user("ada", city="Boston"), self.user("ada", age="old"), self.user("ada", city="Detroit"),
                 self.user("bob"))
        self.assertEqual(self.sink("--json", *flags).json[0]["set_aside"], 2)
        self.add(self.user("ada", city="Oslo"), self.user("bob", city="Oslo"))  # also after a restart
        self.assertEqual(self.sink("--json", *flags).json[0]["set_aside"], 1)
        self.assertEqual({name: row[0] for name, row in self.rows().items()}, {"ada": "Boston", "bob": "Oslo"})

    def test_needed_records_that_were_trimmed_stop_the_sink(self):
        self.add(*changes(random.Random(6), 100))
        self.sink()
        self.append(b"{}\n" * 60000, "--type", "7", "--durable")
        self.run_cli("trim", self.log, "--before", 50000, "--yes")
        self.mapping({**USERS, "otherwise": "ignore"})
        self.assertIn("no longer retained", self.sink(code=4).err)
        self.mapping({**USERS, "table": "others", "otherwise": "ignore"})
        self.assertIn("no longer retained", self.sink("--name", "others", code=4).err)
        self.sink("--name", "others", "--from", "start")  # who says so may begin where the log does

    def test_a_reserve_stays_for_a_backup_to_come_back_to(self):
        self.add(*changes(random.Random(7), 100))
        self.sink("--hold-back", "7d")
        self.append(b"{}\n" * 60000, "--type", "7", "--durable")
        plan = self.run_raw("trim", self.log, "--before", 50000, "--dry-run")
        self.assertIn("users.reserve", plan.out.decode() + plan.err)

    def test_a_table_belongs_to_one_sink(self):
        self.add(self.user("ada"))
        self.sink()
        self.assertIn("belongs to sink users of log", self.sink("--name", "other", code=1).err)
        self.mapping({**USERS, "table": "elsewhere"})
        self.assertIn("has written into table users", self.sink("--name", "users", code=1).err)
        self.sql("CREATE TABLE mine(name TEXT PRIMARY KEY, city, age, seq)")
        self.mapping({**USERS, "table": "mine"})
        self.assertIn("--adopt", self.sink("--name", "mine", code=1).err)
        self.sink("--name", "mine", "--adopt")
        self.assertEqual(self.sql("SELECT name FROM mine"), [("ada",)])
        self.sql("CREATE TABLE small(name TEXT PRIMARY KEY)")
        self.mapping({**USERS, "table": "small"})
        self.assertIn("no column city", self.sink("--name", "small", "--adopt", code=1).err)

    def test_full_text(self):
        self.mapping({**USERS, "full_text": ["name", "city"]})
        self.add(self.user("ada", city="New York"), self.user("bob", city="York"), self.user("ada", city="Detroit"),
                 self.user("bob", type_=DELETE), self.user("eve", city="West York"))
        self.sink()
        self.assertEqual(self.sql("SELECT name FROM users_search WHERE users_search MATCH 'york'"), [("eve",)])
        self.assertEqual(self.sql("SELECT name FROM users_search WHERE users_search MATCH 'detroit'"), [("ada",)])
        self.sql("INSERT INTO users_search(users_search) VALUES('integrity-check')")

    def test_columns_from_the_record_itself(self):
        self.mapping({"table": "entries", "otherwise": "insert", "columns": {
            "seq": {"value": "sequence"}, "epoch": {"value": "epoch"}, "at": {"value": "timestamp_ns"},
            "time": {"value": "time"}, "kind": {"value": "type"}, "of": {"value": "key"}, "raw": {"value": "payload"},
            "deep": {"value": "/a/0/b", "type": "real"}, "list": {"value": "/a"}, "yes": {"value": "/yes"}}})
        self.add({"type": 5, "keys": ["k:1", "k:2"], "data": '{"a":[{"b":7}],"yes":true}'})
        record = self.records()[0]
        self.sink()
        row, = self.sql("SELECT seq, epoch, at, kind, of, raw, deep, list, yes, time FROM entries")
        self.assertEqual(row[:9], (1, record["epoch"], int(record["timestamp_ns"]), 5, "k:1", record["data"], 7.0,
                                   '[{"b":7}]', 1))
        self.assertRegex(row[9], r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$")

    def test_a_busy_database_is_waited_for(self):
        self.add(self.user("ada"))
        self.sink()
        holder = sqlite3.connect(self.database, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        self.add(self.user("bob"))
        process = self.start(*self.args())
        time.sleep(1.3)  # longer than SQLite itself waits
        holder.execute("COMMIT")
        holder.close()
        self.expect_exit(process, 0)
        self.assertIn("trying again", process.stderr.read().decode())
        self.assertEqual(set(self.rows()), {"ada", "bob"})

    def test_nobody_is_told_of_what_the_database_does_not_have(self):
        self.add(self.user("ada"))
        process = self.start(*self.args("--follow"))
        self.wait_until("ada is there", lambda: self.database.exists() and self.has_row())
        holder = sqlite3.connect(self.database, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        self.add(self.user("bob"))
        time.sleep(0.4)  # the sink waits for the lock
        consumer, = self.run_cli("consumers", self.log, "list", "--json").json
        self.assertEqual(consumer["committed"]["sequence"], 1)
        holder.execute("COMMIT")
        holder.close()
        self.run_cli("consumers", self.log, "wait", "users", 2)
        self.assertEqual(set(self.rows()), {"ada", "bob"})
        self.interrupt(process)

    def test_mappings_that_make_no_sense(self):
        columns = USERS["columns"]
        for mapping, why in (([], "JSON object"), ({"columns": columns}, "no \"table\""),
                             ({"table": "a b", "columns": columns}, "is no name"),
                             ({"table": "tailrace_x", "columns": columns}, "are taken"),
                             ({"table": "t", "columns": {}}, "no \"columns\""),
                             ({"table": "t", "columns": {"a": {}}}, "no \"value\""),
                             ({"table": "t", "columns": {"a": {"value": "name"}}}, "JSON Pointer"),
                             ({"table": "t", "columns": {"a": {"value": "/a", "typ": "text"}}}, "not known"),
                             ({"table": "t", "columns": {"a": {"value": "/a"}}}, "\"key\": true"),
                             ({"table": "t", "columns": {"a": {"value": "/a"}, "A": {"value": "/b"}}}, "two columns"),
                             ({**USERS, "on": {"x": "insert"}}, "no record type"),
                             ({**USERS, "on": {"1": "inset"}}, "one of insert"),
                             ({**USERS, "full_text": ["nothing"]}, "no column"),
                             ({**USERS, "tabel": "t"}, "not known")):
            self.mapping(mapping)
            self.assertIn(why, self.sink(code=1).err)
        (self.folder / "mapping.json").write_text("{")
        self.assertIn("no JSON", self.sink(code=1).err)
        (self.folder / "mapping.json").unlink()
        self.sink(code=1)
        self.assertFalse(self.database.exists())

    def test_usage(self):
        self.run_cli("sink", code=2)
        self.run_cli("sink", "sqlite", self.log, code=2)
        self.sink("--dead-letter-key-stops", code=2)
        self.sink("--from", "@5", code=2)
        self.run_cli("sink", "sqlite", self.folder / "nowhere", "--database", "x.db", "--mapping", "mapping.json", code=3)

    def test_a_stop_ends_it_in_order(self):
        self.add(self.user("ada"))
        process = self.start(*self.args("--follow"))
        self.wait_until("ada is there", lambda: self.database.exists() and self.has_row())
        self.interrupt(process)
        self.add(self.user("bob"))
        self.assertEqual(self.sink("--json").json[0]["records"], 1)


if __name__ == "__main__":
    unittest.main()
