"""tailrace sink redis: values and stamp change as one, also when Redis forgets."""

import json
import random
import subprocess
import time
import unittest

from sinks import DELETE, STOP, USERS, SinkTest, changes, redis_server, seed

PLACE = 40  # digits that each value begins with: where in the log it comes from


class Redis(SinkTest):
    KIND = "redis"

    def setUp(self):
        super().setUp()
        self.server = redis_server(self)
        self.database = self.server.socket

    def redis(self, *words):
        done = subprocess.run(["redis-cli", "-s", str(self.server.socket), "--raw", *map(str, words)],
                              capture_output=True, check=True)
        return done.stdout.decode().rstrip("\n")

    def rows(self):
        """name -> (city, age, seq), and the names of tombstones."""
        rows, graves = {}, set()
        for key in filter(None, self.redis("KEYS", "users:*").split("\n")):
            if key.startswith("users:tailrace:"):
                continue
            text = self.redis("GET", key)[PLACE:]
            if text:
                row = json.loads(text)
                rows[row["name"]] = (row["city"], row["age"], row["seq"])
            else:
                graves.add(key.split(":", 1)[1])
        return rows, graves

    def stamp(self):
        text = self.redis("GET", "users:tailrace:stamp")
        return int(text[20:PLACE]) if text else None

    def test_rows_are_what_a_clean_fold_gives(self):
        self.add(*changes(random.Random(1), 1500))
        self.sink()
        rows, graves = self.rows()
        self.assertEqual(rows, self.expected())
        self.assertEqual(self.stamp(), 1500)
        self.assertFalse(graves & set(rows))

    def test_tombstones_go_when_the_stamp_has_passed_them(self):
        self.add(self.user("ada"), self.user("ada", type_=DELETE))
        self.sink()
        self.assertEqual(self.rows(), ({}, {"ada"}))
        self.add(self.user("bob"))
        self.sink()
        self.assertEqual(self.rows()[1], set())
        self.assertEqual(self.redis("ZCARD", "users:tailrace:tombstones"), "0")

    def test_what_redis_has_forgotten_comes_again(self):
        random_ = random.Random(seed())
        self.add(*changes(random_, 1000))
        process = self.start(*self.args("--follow"))
        self.wait_until("all is there", lambda: self.stamp() == 1000)
        for how in ("FLUSHALL", "kill", "stamp only"):
            if how == "kill":
                self.server.kill()
                self.server.start()  # without persistence: empty
            elif how == "FLUSHALL":
                self.redis("FLUSHALL")
            else:
                self.redis("DEL", "users:tailrace:stamp")
            self.add(*changes(random_, 50))
            total = len(self.records_so_far)
            self.wait_until(f"all is there again after {how}", lambda: self.stamp() == total)
            self.assertEqual(self.rows()[0], self.expected(), how)
        self.interrupt(process)

    def test_an_older_record_never_overwrites_a_newer_one(self):
        self.mapping({**USERS, "on": {**USERS["on"], "9": "ignore"}})
        self.add(self.user("ada", city="Boston"), self.user("bob"), self.user("x", type_=STOP),
                 self.user("ada", city="Detroit"), self.user("bob", type_=DELETE))
        self.sink()
        before = self.rows()
        self.assertEqual((before[0]["ada"][0], before[1]), ("Detroit", {"bob"}))
        # All comes again, and stops half way: what is newer is there all along, and what is gone stays gone.
        self.redis("DEL", "users:tailrace:stamp")
        self.mapping(USERS)
        self.sink(code=1)
        self.assertEqual(self.stamp(), 2)
        self.assertEqual(self.rows(), before)

    def test_killed_at_random(self):
        random_ = random.Random(seed())
        self.add(*changes(random_, 6000))
        self.kill_at_random(random_, 25)
        self.assertEqual(self.rows()[0], self.expected())

    def test_another_sinks_rows_are_left_alone(self):
        self.add(self.user("ada"))
        self.sink()
        self.assertIn("belongs to sink users of log", self.sink("--name", "other", code=1).err)
        self.redis("SET", "users:tailrace:stamp", "nonsense")
        self.assertIn("does not hold a stamp", self.sink(code=1).err)

    def test_it_waits_for_a_redis_that_is_away(self):
        self.add(self.user("ada"))
        self.server.kill()
        process = self.start(*self.args())
        time.sleep(0.3)
        self.assertIsNone(process.poll())
        self.server.start()
        self.expect_exit(process, 0)
        self.assertEqual(set(self.rows()[0]), {"ada"})

    def test_set_aside(self):
        self.create(self.folder / "refused")
        flags = ("--dead-letter", self.folder / "refused", "--dead-letter-key-stops", "--json")
        self.add(self.user("ada"), self.user("ada", age="old"), self.user("ada", city="Oslo"), self.user("bob"))
        self.assertEqual(self.sink(*flags).json[0]["set_aside"], 2)
        self.add(self.user("ada", city="Rome"))
        self.assertEqual(self.sink(*flags).json[0]["set_aside"], 1)
        self.assertEqual(self.rows()[0]["ada"][0], "Detroit")

    def test_a_mapping_without_a_key_is_refused(self):
        self.mapping({"table": "entries", "otherwise": "insert", "columns": {"seq": {"value": "sequence"}}})
        self.assertIn("Redis needs a column", self.sink(code=1).err)
        self.mapping({**USERS, "full_text": ["city"]})
        self.assertIn("SQLite's alone", self.sink(code=1).err)


if __name__ == "__main__":
    unittest.main()
