"""tailrace sink postgres: exactly once, whichever of the two is killed."""

import json
import random
import signal
import time
import unittest

from sinks import INSERT, USERS, SinkTest, changes, postgres_server, seed


class Postgres(SinkTest):
    KIND = "postgres"

    def setUp(self):
        super().setUp()
        self.server = postgres_server(self)
        self.database = self.server.conninfo

    def sql(self, text):
        return self.server.sql(text)

    def rows(self):
        return {name: (city if city != "NULL" else None, int(age), int(seq)) for name, city, age, seq in self.sql(
            "SELECT name, coalesce(city, 'NULL'), age, seq FROM users")}

    def stamp(self):
        try:
            return int(self.sql("SELECT sequence FROM tailrace_sinks")[0][0])
        except (RuntimeError, IndexError):
            return None

    def test_all_of_it(self):
        """One server for all that needs no fresh one: starting it takes most of the time."""
        self.rows_are_what_a_clean_fold_gives()
        self.a_record_that_cannot_be_stops_the_sink()
        self.set_aside()
        self.ownership()
        self.two_sinks()
        self.diverged()
        self.killed_at_random()
        self.the_server_killed_at_random()

    def rows_are_what_a_clean_fold_gives(self):
        self.add(*changes(random.Random(1), 2000))
        self.sink()
        self.assertEqual(self.rows(), self.expected())
        self.add(*changes(random.Random(2), 100))
        self.assertEqual(self.sink("--json").json[0]["records"], 100)
        self.assertEqual(self.rows(), self.expected())

    def a_record_that_cannot_be_stops_the_sink(self):
        before = len(self.records_so_far)
        self.mapping({**USERS, "table": "strict"})
        self.sink("--name", "strict")
        self.sql("ALTER TABLE strict ADD CHECK (age < 100)")
        self.append_jsonl(self.user("zoe"), self.user("old", age=100), self.user("eve"), flags=("--durable",))
        done = self.sink("--name", "strict", code=1)
        self.assertIn(f"record {before + 2} cannot be stored", done.err)
        self.assertIn("check constraint", done.err)
        self.assertEqual(self.sql("SELECT name FROM strict WHERE name IN ('zoe', 'old', 'eve')"), [["zoe"]])
        self.create(self.folder / "refused")
        # Also one that is refused only when the transaction ends, so that nobody can tell which it was.
        self.sql("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                 "IF new.city = 'Nowhere' THEN RAISE EXCEPTION 'no such city'; END IF; RETURN NULL; END $$")
        self.sql("CREATE CONSTRAINT TRIGGER late AFTER INSERT OR UPDATE ON strict DEFERRABLE INITIALLY DEFERRED "
                 "FOR EACH ROW EXECUTE FUNCTION refuse()")
        self.append_jsonl(self.user("a"), self.user("b", city="Nowhere"), self.user("c"), flags=("--durable",))
        done = self.sink("--name", "strict", "--dead-letter", self.folder / "refused", "--json")
        self.assertEqual(done.json[0]["set_aside"], 2)
        self.assertEqual(sorted(self.sql("SELECT name FROM strict WHERE name IN ('eve', 'a', 'b', 'c')")),
                         [["a"], ["c"], ["eve"]])
        kept = self.run_cli("read", self.folder / "refused", "--json").json
        self.assertEqual([json.loads(one["data"])["name"] for one in kept[1::2]], ["old", "b"])
        self.mapping(USERS)
        self.records_so_far += [self.user("zoe"), self.user("old", age=100), self.user("eve"), self.user("a"),
                                self.user("b", city="Nowhere"), self.user("c")]
        self.sink()
        self.assertEqual(self.rows(), self.expected())

    def set_aside(self):
        self.create(self.folder / "refused2")
        flags = ("--dead-letter", self.folder / "refused2", "--dead-letter-key-stops", "--json")
        self.mapping({**USERS, "table": "parked"})
        self.sink("--name", "parked")
        self.append_jsonl(self.user("ada", type_=INSERT), self.user("ada", type_=INSERT), self.user("ada", city="Oslo"),
                          {"type": 1, "keys": ["zero"], "data": "{\"name\":\"a\\u0000b\",\"city\":null,\"age\":1}"},
                          flags=("--durable",))
        self.sql("DELETE FROM parked WHERE name = 'ada'")
        self.assertEqual(self.sink("--name", "parked", *flags).json[0]["set_aside"], 3)
        self.append_jsonl(self.user("ada", city="Rome"), flags=("--durable",))
        self.assertEqual(self.sink("--name", "parked", *flags).json[0]["set_aside"], 1)
        self.assertEqual(self.sql("SELECT city FROM parked WHERE name = 'ada'"), [["Detroit"]])
        self.mapping({**USERS, "on": {**USERS["on"], "3": "ignore"}})
        self.create(self.folder / "refused3")

    def ownership(self):
        self.mapping(USERS)
        self.assertIn("belongs to sink users of log", self.sink("--name", "other", code=1).err)
        self.sql("CREATE TABLE mine(name text PRIMARY KEY, city text, age int, seq int)")
        self.mapping({**USERS, "table": "mine"})
        self.assertIn("--adopt", self.sink("--name", "mine", code=1).err)
        self.sql("CREATE TABLE small(name text PRIMARY KEY)")
        self.mapping({**USERS, "table": "small"})
        self.assertIn("no column city", self.sink("--name", "small", "--adopt", code=1).err)

    def fresh(self, table, columns=None):
        """A new log and table for what comes."""
        self.log = self.folder / table
        self.create(None, "--segment-size", "1MiB")
        self.records_so_far = []
        self.mapping({**USERS, "table": table} if columns is None else
                     {"table": table, "otherwise": "insert", "columns": columns})

    def two_sinks(self):
        self.fresh("twice")
        self.add(self.user("ada"))
        process = self.start(*self.args("--follow"))
        count = lambda: self.sql("SELECT count(*) FROM twice")  # noqa: E731
        self.wait_until("ada is there", lambda: self.table_has("twice", 1))
        self.sql("UPDATE tailrace_sinks SET sequence = sequence + 1 WHERE sink = 'twice'")
        self.add(self.user("bob"))
        self.expect_exit(process, 7)
        self.assertEqual(count(), [["1"]])

    def table_has(self, table, rows):
        try:
            return self.sql(f"SELECT count(*) FROM {table}") == [[str(rows)]]
        except RuntimeError:
            return False

    def diverged(self):
        self.fresh("astray")
        self.add(self.user("ada"))
        self.sink()
        self.sql("UPDATE tailrace_sinks SET crc = crc + 1 WHERE sink = 'astray'")
        self.assertIn("is not in this log", self.sink(code=4).err)

    def killed_at_random(self):
        random_ = random.Random(seed())
        self.fresh("entries", {"seq": {"value": "sequence", "type": "integer"}})
        self.add(*changes(random_, 6000))
        self.kill_at_random(random_, 15)
        self.assertEqual([int(row[0]) for row in self.sql("SELECT seq FROM entries ORDER BY seq")],
                         list(range(1, 6001)))

    def the_server_killed_at_random(self):
        random_ = random.Random(seed())
        self.fresh("survivors", {"seq": {"value": "sequence", "type": "integer"}})
        self.add(*changes(random_, 3000))
        process = self.start(*self.args("--follow"))
        for _ in range(3):
            time.sleep(random_.random() * 0.3)
            self.server.kill(signal.SIGKILL)
            (self.server.folder / "data" / "postmaster.pid").unlink(missing_ok=True)
            self.server.start()
            self.add(*changes(random_, 500))
        total = len(self.records_so_far)
        self.wait_until("all is there", lambda: self.table_has("survivors", total))
        self.interrupt(process)
        self.assertEqual([int(row[0]) for row in self.sql("SELECT seq FROM survivors ORDER BY seq")],
                         list(range(1, total + 1)))


if __name__ == "__main__":
    unittest.main()
