"""`tailrace backup` and `tailrace restore`."""

import json
import unittest

from cli import CliTest, patch, segments, tree


class Backup(CliTest):
    def setUp(self):
        super().setUp()
        self.create(self.log, "--segment-size", "1MiB")
        self.copy, self.again = self.folder / "backup", self.folder / "again"

    def fill(self, records=3000):
        self.append_jsonl(*({"data": f"{i:04}" + "x" * 900, "type": i % 5, "keys": [f"k{i % 7}"]} for i in range(records)))

    def test_what_is_restored_is_what_was_backed_up(self):
        self.fill()
        [report] = self.run_cli("backup", self.log, self.copy, "--json").json
        self.assertEqual((report["first_sequence"], report["last_sequence"]), (1, 3000))
        self.run_cli("restore", self.copy, self.again)
        self.assertEqual(self.read("--json").out, self.run_cli("read", self.again, "--json").out)
        self.run_cli("verify", self.again)
        self.run_cli("append", self.again, stdin=b"goes on")
        self.assertEqual(self.run_cli("read", self.again, "--from", "3001").out, b"goes on\n")

    def test_the_log_id_is_new_unless_kept_on_purpose(self):
        self.append(b"a")
        self.run_cli("backup", self.log, self.copy)
        self.run_cli("restore", self.copy, self.again)
        kept = self.folder / "kept"
        self.run_cli("restore", self.copy, kept, "--keep-log-id")
        ids = [self.run_cli("info", log, "--json").json[0]["log_id"] for log in (self.log, self.again, kept)]
        self.assertNotEqual(ids[0], ids[1])
        self.assertEqual(ids[0], ids[2])

    def test_under_a_live_writer_it_holds_what_was_durable(self):
        writer = self.start("append", self.log, "--acks", "--durable")
        for i in range(50):
            writer.stdin.write(b"%03d" % i + b"y" * 40000 + b"\n")
            self.assertTrue(json.loads(self.next_line(writer))["durable"])
        [report] = self.run_cli("backup", self.log, self.copy, "--json").json
        self.assertEqual(report["last_sequence"], 50)
        writer.stdin.write(b"later\n")
        self.next_line(writer)
        self.run_cli("restore", self.copy, self.again)
        self.assertEqual(len(self.run_cli("read", self.again).lines), 50)

    def test_an_empty_log(self):
        self.run_cli("backup", self.log, self.copy)
        self.run_cli("restore", self.copy, self.again)
        self.run_cli("append", self.again, stdin=b"first")
        self.assertEqual(self.run_cli("read", self.again).out, b"first\n")

    def test_a_damaged_log_gives_no_backup(self):
        self.fill()
        patch(segments(self.log)[1], 500_000, b"damage")
        self.assertIn("sequence ", self.run_cli("backup", self.log, self.copy, code=4).err)
        self.assertFalse(self.copy.exists())
        self.assertEqual([entry.name for entry in self.folder.iterdir()], ["log"])

    def test_a_damaged_backup_gives_no_log(self):
        self.fill()
        self.run_cli("backup", self.log, self.copy)
        segment = segments(self.copy)[2]
        whole = segment.read_bytes()
        for damage in (lambda: patch(segment, 300_000, b"damage"), lambda: segment.write_bytes(whole[:-100]),
                       lambda: patch(segment, 40, b"\xff"), segment.unlink):
            segment.write_bytes(whole)
            damage()
            self.assertIn(self.run_raw("restore", self.copy, self.again).code, (3, 4))
            self.assertFalse(self.again.exists())
        segment.write_bytes(whole)
        patch(self.copy / "backup.meta", 30, b"\xff")
        self.run_cli("restore", self.copy, self.again, code=1)

    def test_nothing_is_written_over(self):
        self.append(b"a")
        self.run_cli("backup", self.log, self.copy)
        before = tree(self.folder)
        self.run_cli("backup", self.log, self.copy, code=1)
        self.run_cli("restore", self.copy, self.log, code=1)
        self.run_cli("restore", self.log, self.again, code=1)  # a log is no backup
        self.run_cli("backup", self.copy, self.again, code=1)  # nor the other way round
        self.assertEqual(tree(self.folder), before)

    def test_a_crashed_log_has_to_be_recovered_first(self):
        writer = self.start("append", self.log, "--acks", "--durable")
        writer.stdin.write(b"a\n")
        self.next_line(writer)
        writer.kill()
        writer.wait()
        self.assertIn("tailrace repair", self.run_cli("backup", self.log, self.copy, code=2).err)
        self.run_cli("repair", self.log)
        self.run_cli("backup", self.log, self.copy)


if __name__ == "__main__":
    unittest.main(verbosity=2)
