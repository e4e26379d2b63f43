"""tailrace project: rows, formats, snapshots, as-of and follow, compared with a fold in Python."""

import collections
import csv
import io
import json
import os
import pathlib
import shutil
import signal
import time
import unittest

from cli import PATIENCE_S, CliTest

FLIGHTS = [json.loads(line) for line in
           (pathlib.Path(os.environ["TAILRACE_SOURCE_DIR"]) / "tests/data/flights.jsonl").read_text().splitlines()]


def folded(flights):
    """origin -> what --count --sum delay --min delay --max distance --avg delay say."""
    groups = collections.defaultdict(list)
    for flight in flights:
        groups[flight["origin"]].append(flight)
    return {origin: {"origin": origin, "count": len(some), "sum_delay": sum(f["delay"] for f in some),
                     "min_delay": min(f["delay"] for f in some), "max_distance": max(f["distance"] for f in some),
                     "avg_delay": sum(f["delay"] for f in some) / len(some)}
            for origin, some in groups.items()}


COLUMNS = ("--group-by", "origin", "--count", "--sum", "delay", "--min", "delay", "--max", "distance", "--avg", "delay")


class Project(CliTest):
    def setUp(self):
        super().setUp()
        self.create(None, "--segment-size", "1MiB")

    def add(self, payloads, *flags):
        self.append("".join(json.dumps(payload) + "\n" for payload in payloads).encode(), *flags)

    def project(self, *args, code=0):
        return self.run_cli("project", self.log, *args, code=code)

    def rows(self, *args):
        """By origin, without the sequence of each row's last change."""
        rows = self.project(*COLUMNS, "--json", *args).json
        for row in rows:
            del row["sequence"]
        return {row["origin"]: row for row in rows}

    def test_the_rows_are_those_of_a_fold_in_another_language(self):
        self.add(FLIGHTS)
        self.assertEqual(self.rows(), folded(FLIGHTS))

    def test_as_of_is_a_fold_that_ends_there(self):
        self.add(FLIGHTS[:3000], "--durable")
        for name in ((), ("--name", "airports")):
            for end in (1, 2, 500, 2999, 3000):
                self.assertEqual(self.rows("--as-of", end, *name), folded(FLIGHTS[:end]), (name, end))
            self.rows("--name", "airports")  # from here on with a snapshot at the end
        self.project("--as-of", 3001, code=3)
        self.project("--as-of", 3001, "--name", "airports", code=3)
        time_of = self.records("--from", 700, "-n", 1)[0]["timestamp_ns"]
        same_time = sum(1 for one in self.records() if int(one["timestamp_ns"]) <= int(time_of))
        self.assertEqual(self.rows("--as-of", f"@{time_of}"), folded(FLIGHTS[:same_time]))

    def test_with_a_name_only_what_is_new_is_folded(self):
        self.add(FLIGHTS[:2000], "--durable")
        self.assertEqual(self.rows("--name", "airports"), folded(FLIGHTS[:2000]))
        snapshots = sorted((self.log / "snapshots/airports").iterdir())
        self.assertEqual([one.name for one in snapshots], [f"{2000:020}.snap"])
        self.add(FLIGHTS[2000:2100], "--durable")
        self.assertEqual(self.rows("--name", "airports"), folded(FLIGHTS[:2100]))
        # What is not new is not looked at: the groups of another fold come back as they were.
        other = ("--group-by", "destination", "--name", "airports", "--json")
        done = self.run_raw("project", self.log, *other)
        self.assertEqual(done.code, 0)
        self.assertIn("schema", done.err)  # said once: all was folded anew
        self.assertEqual(sum(row["count"] for row in done.json), 2100)
        self.assertEqual(self.run_raw("project", self.log, *other).err, "")

    def test_a_damaged_snapshot_is_said_and_does_not_count(self):
        self.add(FLIGHTS[:2000], "--durable")
        self.rows("--name", "airports")
        snapshot, = (self.log / "snapshots/airports").iterdir()
        damaged = bytearray(snapshot.read_bytes())
        damaged[5000] ^= 1
        snapshot.write_bytes(damaged)
        done = self.run_raw("project", self.log, *COLUMNS, "--json", "--name", "airports")
        self.assertEqual(done.code, 0)
        self.assertIn(snapshot.name, done.err)
        self.assertEqual({row["origin"]: row["count"] for row in done.json},
                         {origin: row["count"] for origin, row in folded(FLIGHTS[:2000]).items()})

    def test_csv_and_table(self):
        self.add([{"who": 'a "b", c', "n": 1}, {"who": "é", "n": 2.5}, {"n": 3}, {"who": 7}, {"who": None, "n": "x"}])
        done = self.run_raw("project", self.log, "--group-by", "who", "--sum", "n", "--count", "--csv")
        self.assertIn("left out: 1 values that are no numbers; the first: in record 5", done.err)
        self.assertEqual(list(csv.reader(io.StringIO(done.out.decode()))),
                         [["who", "count", "sum_n"], ["7", "1", ""], ['a "b", c', "1", "1"], ["é", "1", "2.5"],
                          ["", "2", "3"]])
        table = self.run_raw("project", self.log, "--group-by", "who", "--sum", "n").out.decode()
        self.assertEqual(table, 'who       sum_n\n7             -\na "b", c      1\né           2.5\n              3\n')

    def test_sorted_and_limited(self):
        self.add(FLIGHTS[:3000])
        expected = sorted(folded(FLIGHTS[:3000]).values(), key=lambda row: (-row["count"], row["origin"]))[:5]
        rows = self.project(*COLUMNS, "--sort", "count", "-n", 5, "--json").json
        self.assertEqual([row["origin"] for row in rows], [row["origin"] for row in expected])
        self.assertEqual([row["count"] for row in rows], [row["count"] for row in expected])

    def test_fields_may_be_deep_and_of_any_kind(self):
        self.add([{"a": {"b": [1, "x"]}}, {"a": {"b": [1, "x"]}}, {"a": {"b": True}}, {"a": 5}, {"/a": 1}])
        rows = self.project("--group-by", "/a/b", "--group-by", "/a/b/0", "--json").json
        self.assertEqual([(row["/a/b"], row["/a/b/0"], row["count"]) for row in rows],
                         [([1, "x"], 1, 2), (True, None, 1), (None, None, 2)])

    def test_sums_are_exact_until_they_do_not_fit(self):
        big = 2 ** 62
        self.add([{"n": big}, {"n": big - 1}, {"n": -5}])
        self.assertEqual(self.project("--sum", "n", "--json").out.decode(),
                         f'{{"sum_n":{2 * big - 6},"sequence":3}}\n')
        self.add([{"n": big}])
        self.assertEqual(self.project("--sum", "n", "--json").json[0]["sum_n"], float(3 * big - 6))

    def test_what_is_no_object_is_left_out_and_said(self):
        self.append(b'plain\n{"x":1}\n[1]\n\n{"x":\n')
        done = self.run_raw("project", self.log, "--json")
        self.assertEqual((done.code, done.json[0]["count"]), (0, 1))
        self.assertIn("left out: 4 of 5 records whose payload is no JSON object; the first: 1", done.err)

    def test_keys_prefixes_and_types(self):
        self.add(FLIGHTS[:10], "--key", "a:1", "--type", "1")
        self.add(FLIGHTS[:20], "--key", "b:1", "--type", "2")
        count = lambda *flags: self.project("--json", *flags).json[0]["count"]  # noqa: E731
        self.assertEqual((count(), count("--key", "a:1"), count("--key-prefix", "b:"), count("--type", 2)),
                         (30, 10, 20, 20))
        self.assertEqual(count("--name", "some", "--committed", "--key", "a:1"), 10)

    def test_engine_records_are_no_rows(self):
        self.add(FLIGHTS[:3], "--durable")
        self.assertEqual(self.project("--json", "--name", "n").json[0]["count"], 3)

    def test_follow_says_what_changes(self):
        self.add(FLIGHTS[:100], "--durable")
        for name in ((), ("--name", "airports")):
            total = json.loads(self.project("--json").out)["count"]
            process = self.start("project", self.log, "--group-by", "origin", "--json", "--follow", "--interval",
                                 "0.05s", *name)
            groups = {}

            def read_until(total):
                deadline = time.monotonic() + PATIENCE_S
                while sum(groups.values()) < total and time.monotonic() < deadline:
                    row = json.loads(process.stdout.readline())
                    groups[row["origin"]] = row["count"]
                self.assertEqual(sum(groups.values()), total)

            read_until(total)
            self.add(FLIGHTS[100:150], "--durable")
            read_until(total + 50)
            process.send_signal(signal.SIGINT)
            process.stdin.close()
            self.assertEqual(process.wait(PATIENCE_S), 130)
        # Ended in order: there is a snapshot of the end.
        self.assertTrue((self.log / f"snapshots/airports/{200:020}.snap").exists())

    def test_a_log_that_is_removed_ends_it(self):
        self.add(FLIGHTS[:10], "--durable")
        for name in ((), ("--name", "airports")):
            process = self.start("project", self.log, "--json", "--follow", "--interval", "0.05s", *name)
            self.next_line(process)
            shutil.copytree(self.log, self.folder / "kept")
            shutil.rmtree(self.log)
            self.expect_exit(process, 1)
            self.assertIn("removed", process.stderr.read().decode())
            (self.folder / "kept").rename(self.log)

    def test_one_process_has_a_name(self):
        self.add(FLIGHTS[:10], "--durable")
        process = self.start("project", self.log, "--name", "airports", "--json", "--follow")
        process.stdout.readline()
        done = self.project("--name", "airports", code=7)
        self.assertIn(str(process.pid), done.err)

    def test_others_can_wait_for_it(self):
        self.add(FLIGHTS[:10], "--durable")
        self.project("--name", "airports")
        self.run_cli("consumers", self.log, "wait", "airports", 10)

    def test_a_log_that_was_trimmed(self):
        self.append(b"{}\n" * 60000, "--durable")
        self.run_cli("trim", self.log, "--before", 50000, "--yes")
        done = self.run_raw("project", self.log, "--json")
        first = self.records("-n", 1)[0]["sequence"]
        self.assertIn(f"begins with record {first}", done.err)
        self.assertEqual(done.json[0]["count"], 60000 - first + 1)
        self.assertIn("no longer in the log", self.project("--name", "all", code=4).err)  # what is kept must be right

    def test_usage(self):
        for flags in (("--frobnicate",), ("--sum",), ("--sort", "nothing"), 
                      ("--group-by", "a", "--group-by", "a"), ("--group-by", "sequence"), ("--json", "--csv"),
                      ("--follow", "--as-of", "3"), ("--as-of", "x"), ("--durable", "--committed"),
                      ("--rate", "x")):
            self.project(*flags, code=2)
        self.run_cli("project", self.folder / "nowhere", code=3)
        self.project("--name", "bad/name", code=2)

    def test_an_empty_log_has_no_rows(self):
        self.assertEqual(self.project("--json").out, b"")
        self.assertEqual(self.project("--group-by", "a", "--csv").out, b"a,count\n")
        self.assertEqual(self.project("--name", "n", "--committed", "--json").out, b"")


if __name__ == "__main__":
    unittest.main()
