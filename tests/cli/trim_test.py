"""`tailrace trim`, and what the other commands say of a log that was trimmed."""

import unittest

from cli import CliTest, segments, tree

MIB = 1 << 20


class Trim(CliTest):
    def setUp(self):
        super().setUp()
        self.create(self.log, "--segment-size", "1MiB")
        # Two records to a segment.
        self.append_jsonl(*({"data": f"{i}" + "x" * 500_000, "timestamp_ns": str(i * 1000)} for i in range(1, 11)),
                          flags=("--keep-time",))

    def trim(self, *flags, code=0):
        return self.run_cli("trim", self.log, *flags, code=code)

    def test_a_plan_changes_nothing(self):
        before = tree(self.log)
        plan = self.trim("--before", "5", "--dry-run", "--json").json[0]
        self.assertEqual((plan["done"], plan["segments"], plan["bytes"]), (False, 2, 2 * MIB))
        self.assertEqual((plan["first_sequence"], plan["new_first_sequence"], plan["new_first_position"]),
                         (1, 5, str(2 * MIB)))
        self.assertEqual((plan["held_by"], plan["losing"], plan["mapped_by"]), ([], [], []))
        asked = self.run_raw("trim", self.log, "--before", "5")
        self.assertEqual(asked.code, 1)
        self.assertIn("--before 5 --yes", asked.err)
        self.assertIn("would remove 2 segment files", asked.out.decode())
        self.assertEqual(tree(self.log), before)

    def test_it_is_done_and_everybody_knows(self):
        self.assertIn("removed 2 segment files", self.trim("--before", "6", "--yes").out.decode())
        self.assertEqual(segments(self.log)[0].name, f"{2 * MIB:020}.seg")
        self.assertEqual(self.info()["first_sequence"], 5)
        self.assertIn("from position 2097152", self.run_cli("info", self.log).out.decode())
        self.assertIn("from sequence 5", self.run_cli("stat", self.log).out.decode())
        self.assertEqual([record["sequence"] for record in self.records()], [5, 6, 7, 8, 9, 10])
        gone = self.read("--from", "3", code=4)
        self.assertIn("records 3 to 4 are no longer retained", gone.err)
        self.run_cli("verify", self.log, "--deep")
        self.append(b"more")
        self.assertEqual(len(self.payloads()), 7)

    def test_by_time_and_by_size(self):
        for before, first in (("@5500", 5), ("3MiB", 5), ("@5000", 5), ("@4000", 3), ("100GiB", 1)):
            plan = self.trim("--before", before, "--dry-run", "--json").json[0]
            self.assertEqual(plan["new_first_sequence"], first, before)

    def test_what_makes_no_sense_is_usage(self):
        for wrong in ("0", "-5", "@", "yesterday", "1TB", ""):
            self.trim("--before", wrong, "--dry-run", code=2)
        self.trim(code=2)
        self.trim("--before", "12", "--dry-run", code=3)
        self.trim("--before", "12", "--yes", code=3)

    def test_never_beside_a_writer(self):
        writer = self.start("append", self.log, "--acks")
        writer.stdin.write(b"a\n")
        self.next_line(writer)
        self.assertIn(f"pid {writer.pid}", self.trim("--before", "5", "--yes", code=7).err)
        self.trim("--before", "5", "--dry-run")

    def test_who_still_maps_what_goes(self):
        reader = self.start("read", self.log, "--follow", "--format", r"%s\n", "--speed", "0.000000001x")
        self.assertEqual(self.next_line(reader), b"1")
        plan = self.trim("--before", "5", "--dry-run", "--json").json[0]
        self.assertEqual(plan["mapped_by"], [reader.pid])
        self.assertIn(f"pid {reader.pid} maps", self.trim("--before", "5", "--yes").out.decode())

    def test_append_retains_by_size(self):
        writer = self.start("append", self.log, "--acks", "--retain-size", "2MiB")
        for _ in range(3):
            writer.stdin.write(b"y" * 700_000 + b"\n")
            self.next_line(writer)
        self.wait_until("old segments go", lambda: self.info()["first_sequence"] > 8)
        self.assertIn("removed", self.run_cli("stat", self.log).out.decode())
        self.run_cli("append", self.log, "--retain-age", "0s", code=2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
