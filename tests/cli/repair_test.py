"""`tailrace repair` and `tailrace stat`."""

import json
import unittest

from cli import CliTest, patch, segments, tree


class Repair(CliTest):
    def setUp(self):
        super().setUp()
        self.create(self.log, "--segment-size", "1MiB")
        self.append_jsonl(*({"data": f"{i:04}" + "x" * 900} for i in range(3000)))

    def damage(self, segment=1, offset=500_000):
        patch(segments(self.log)[segment], offset, b"damage")

    def plan(self):
        done = self.run_cli("repair", self.log, code=4)
        return done.err.split("--accept-loss ")[1].split()[0], done

    def salvaged(self):
        return {entry.name: entry.read_bytes() for entry in (self.log / "salvage").iterdir()}

    def test_a_whole_log_needs_nothing(self):
        self.assertIn("whole up to sequence 3000", self.run_cli("repair", self.log).out.decode())
        self.run_cli("repair", self.log, "--accept-loss", "1-2", "--yes", code=2)

    def test_a_crashed_log_is_recovered(self):
        writer = self.start("append", self.log, "--acks")
        writer.stdin.write(b"a\n")
        self.next_line(writer)
        writer.kill()
        writer.wait()
        self.assertIn("whole up to sequence 3001", self.run_cli("repair", self.log).out.decode())

    def test_the_plan_changes_nothing(self):
        self.damage()
        before = tree(self.log)
        lost, done = self.plan()
        self.assertIn("nothing was changed", done.err)
        self.run_cli("repair", self.log, "--accept-loss", lost, code=4)  # without --yes
        self.run_cli("repair", self.log, "--accept-loss", "1-3000", "--yes", code=2)  # another range
        self.run_cli("repair", self.log, "--yes", code=4)
        self.assertEqual(tree(self.log), before)

    def test_accepted_loss_is_cut_off_and_kept_aside(self):
        before = self.payloads("--to", "1100")
        old = {segment.name: segment.read_bytes() for segment in segments(self.log)}
        self.damage()
        lost, _ = self.plan()
        first, last = map(int, lost.split("-"))
        self.assertEqual(last, 3000)
        self.run_cli("repair", self.log, "--accept-loss", lost, "--yes")
        self.run_cli("verify", self.log)
        self.assertEqual(len(self.payloads()), first - 1)
        self.assertEqual(self.payloads()[:1100], before[:first - 1])
        kept = self.salvaged()
        names = sorted(old)
        moved = sorted(name.split("-")[0] + ".seg" for name in kept if name.endswith(".seg"))
        self.assertEqual(moved, names[2:])
        for name, data in kept.items():
            if name.endswith(".seg"):
                self.assertEqual(data, old[name.split("-")[0] + ".seg"])
            if name.endswith(".tail"):
                position = int(name.split("-")[0])
                rest = old[names[1]][position - (1 << 20):]
                self.assertEqual(len(data), len(rest.rstrip(b"\0")))
                self.assertIn(b"damage", data)
        self.append(b"new")
        self.assertEqual(self.read("--from", str(first)).out, b"new\n")
        self.run_cli("verify", self.log)

    def test_without_its_journal(self):
        (self.log / "journal").unlink()
        self.assertIn("journal is missing", self.append(b"x", code=4).err)
        self.assertEqual(self.run_cli("verify", self.log, "--json", code=4).json[0]["file"], "journal")
        lost, _ = self.plan()
        self.assertEqual(lost, "3001-")
        self.run_cli("repair", self.log, "--accept-loss", lost, "--yes")
        self.append(b"goes on")
        self.assertEqual(self.read("--from", "3001").out, b"goes on\n")

    def test_a_journal_cut_short_or_damaged_at_both_anchors(self):
        journal = self.log / "journal"
        whole = journal.read_bytes()
        for damage in (lambda: journal.write_bytes(whole[:5000]), lambda: journal.write_bytes(b""),
                       lambda: patch(journal, 0, b"\0" * 8192)):
            journal.write_bytes(whole)
            damage()
            self.append(b"x", code=4)
            lost, _ = self.plan()
            self.run_cli("repair", self.log, "--accept-loss", lost, "--yes")
            self.run_cli("verify", self.log)
            whole = journal.read_bytes()

    def test_the_first_segment_too(self):
        self.damage(0, 4096)
        lost, _ = self.plan()
        self.assertEqual(lost, "1-3000")
        self.run_cli("repair", self.log, "--accept-loss", lost, "--yes")
        self.append(b"a new beginning")
        self.assertEqual(self.read().out, b"a new beginning\n")

    def test_never_beside_a_writer(self):
        writer = self.start("append", self.log, "--acks")
        writer.stdin.write(b"a\n")
        self.next_line(writer)
        self.assertIn(f"pid {writer.pid}", self.run_cli("repair", self.log, code=7).err)


class Stat(CliTest):
    FIELDS = ["epoch", "writer", "backend", "records", "bytes", "committed_sequence", "durable_sequence", "durable_lag_ns",
              "commits", "commit_bytes", "commit_p50_ns", "commit_p99_ns", "commit_p999_ns", "commit_max_ns",
              "large_commits", "waits_for_journal", "syncs", "close_syncs", "journal_size_bytes", "journal_used_bytes",
              "segments_ready", "segments_late", "first_sequence", "segments_removed", "retention"]

    def test_json_has_exactly_these_fields(self):
        self.create()
        [stat] = self.run_cli("stat", self.log, "--json").json
        self.assertEqual(list(stat), self.FIELDS)
        self.assertEqual((stat["epoch"], stat["commits"], stat["backend"]), (0, 0, ""))

    def test_it_counts_commits_of_a_live_writer(self):
        self.create()
        writer = self.start("append", self.log, "--acks", "--durable")
        for _ in range(5):
            writer.stdin.write(b"a\n")
            self.next_line(writer)
        [stat] = self.run_cli("stat", self.log, "--json").json
        self.assertEqual((stat["writer"], stat["records"], stat["durable_sequence"]), ("running", 5, 5))
        self.assertGreaterEqual(stat["commits"], 5)
        self.assertLessEqual(stat["commit_p50_ns"], stat["commit_p99_ns"])
        self.assertLessEqual(stat["commit_p99_ns"], stat["commit_max_ns"])
        self.assertGreater(stat["commit_p50_ns"], 0)
        self.assertGreater(stat["journal_used_bytes"], 0)
        self.assertEqual(stat["durable_lag_ns"], 0)
        text = self.run_cli("stat", self.log).out.decode()
        self.assertIn("durable      all", text)

    def test_watch_goes_on_until_interrupted(self):
        self.create()
        watch = self.start("stat", self.log, "--watch", "--json", "--interval-ms", "20")
        self.assertEqual(json.loads(self.next_line(watch))["records"], 0)
        self.append(b"a\nb")
        self.wait_until("the records show", lambda: json.loads(self.next_line(watch))["records"] == 2)
        self.interrupt(watch)


if __name__ == "__main__":
    unittest.main(verbosity=2)
