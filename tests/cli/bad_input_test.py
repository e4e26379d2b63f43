"""Bad input: a clear error with path and place, the exit code as designed, nothing written."""

import os
import shutil
import subprocess
import unittest

from cli import BIN, CliTest, patch, segments, tree

COMMANDS = ["append", "read", "info", "verify"]


class NotALog(CliTest):
    def refused(self, path, code, *words, commands=COMMANDS):
        before = tree(self.folder)
        for command in commands:
            done = self.run_raw(command, path, stdin=b"x\n")
            self.assertEqual(done.code, code, f"{command}: {done.err}")
            self.assertTrue(done.err.startswith(f"tailrace: {command}: "), done.err)
            self.assertEqual(done.out, b"", command)
            for word in (str(path), *words):
                self.assertIn(word, done.err, command)
        self.assertEqual(tree(self.folder), before)

    def test_nothing_there(self):
        self.refused(self.folder / "none", 3)
        self.refused(self.folder / "none" / "deeper", 3)

    def test_a_file(self):
        (self.folder / "file").write_bytes(b"hello")
        self.refused(self.folder / "file", 1)

    def test_an_empty_directory(self):
        (self.folder / "empty").mkdir()
        self.refused(self.folder / "empty", 1)

    def test_some_other_directory(self):
        (self.folder / "other" / "segments").mkdir(parents=True)
        (self.folder / "other" / "log.meta").write_bytes(b"something else entirely" * 10)
        self.refused(self.folder / "other", 1, "log.meta")

    def test_an_empty_or_truncated_log_meta(self):
        self.create()
        whole = (self.log / "log.meta").read_bytes()
        for size in [0, 1, 8, 16, len(whole) - 1]:
            (self.log / "log.meta").write_bytes(whole[:size])
            self.refused(self.log, 1, "log.meta")

    def test_a_damaged_log_meta(self):
        self.create()
        patch(self.log / "log.meta", 20, b"\xff\xfe")
        self.refused(self.log, 1, "log.meta")

    def test_a_later_format_version(self):
        self.create()
        patch(self.log / "log.meta", 8, b"\x07\0\0\0")
        self.refused(self.log, 1, "log.meta", "version 7")

    def test_a_log_of_version_0_is_refused_and_the_way_on_is_named(self):
        self.create()
        patch(self.log / "log.meta", 8, b"\0\0\0\0")
        self.refused(self.log, 1, "log.meta", "version 0", "append COPY --jsonl --keep-time")

    def test_log_meta_that_is_a_directory_a_fifo_or_a_loop(self):
        self.create()
        (self.log / "log.meta").unlink()
        (self.log / "log.meta").mkdir()
        self.refused(self.log, 1, "log.meta")
        (self.log / "log.meta").rmdir()
        os.mkfifo(self.log / "log.meta")
        for command in COMMANDS:
            self.assertEqual(self.run_raw(command, self.log).code, 1)
        (self.log / "log.meta").unlink()
        (self.log / "log.meta").symlink_to("log.meta")
        self.refused(self.log, 1, "log.meta")

    def test_no_segments_directory(self):
        self.create()
        self.append(b"x")
        shutil.rmtree(self.log / "segments")
        for command in ["append", "read", "verify"]:
            done = self.run_raw(command, self.log, stdin=b"x\n")
            self.assertIn(done.code, (1, 3, 4), f"{command}: {done.err}")
            self.assertIn(str(self.log), done.err + done.out.decode())

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("setpriv"), "needs root and setpriv")
    def test_no_permission(self):
        os.chmod(self.folder, 0o755)
        self.create()
        self.append(b"x")
        before = tree(self.log)
        drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
        if subprocess.run([*drop, BIN, "--version"], capture_output=True, check=False).returncode != 0:
            self.skipTest("the build lies where other users cannot run it")
        for command in COMMANDS + ["create"]:
            path = self.folder / "new" if command == "create" else self.log
            done = subprocess.run([*drop, BIN, command, path], input=b"x\n", capture_output=True)
            self.assertEqual(done.returncode, 1, f"{command}: {done.stderr}")
            self.assertIn(os.fsencode(self.folder), done.stderr)
            self.assertIn(b"ermission denied", done.stderr)
        self.assertEqual(tree(self.log), before)


class Damage(CliTest):
    def setUp(self):
        super().setUp()
        self.create(self.log, "--segment-size", "1MiB")
        for _ in range(3):
            self.append(b"x" * 700_000)  # a segment each
        self.assertEqual(len(self.payloads()), 3)

    def test_damage_before_the_end_is_corrupt_and_the_place_is_named(self):
        patch(segments(self.log)[1], 500_000, b"!")
        before = tree(self.log)
        verdict = self.run_cli("verify", self.log, "--json", code=4).json[0]
        self.assertEqual(verdict["verdict"], "corrupt")
        self.assertEqual(verdict["file"], f"segments/{segments(self.log)[1].name}")
        self.assertEqual(verdict["sequence"], 2)
        self.assertGreaterEqual(verdict["offset"], 4096)
        self.assertIn("corrupt: ", self.run_cli("verify", self.log, code=4).out.decode())
        done = self.read(code=4)
        self.assertEqual(done.out, b"x" * 700_000 + b"\n")  # what comes before the damage is shown
        self.assertIn(segments(self.log)[1].name, done.err)
        self.assertIn("sequence 2", done.err)
        self.assertEqual(tree(self.log), before)

    def test_a_missing_segment_in_the_middle_is_corrupt(self):
        segments(self.log)[1].unlink()
        self.assertEqual(self.run_cli("verify", self.log, "--json", code=4).json[0]["verdict"], "corrupt")
        self.assertEqual(self.run_raw("read", self.log).code, 4)
        self.assertEqual(self.run_raw("append", self.log, stdin=b"x").code, 4)

    def test_a_truncated_segment_is_corrupt_and_crashes_nobody(self):
        for size in [0, 100, 4096, 5000, 700_000]:
            os.truncate(segments(self.log)[1], size)
            self.assertEqual(self.run_raw("verify", self.log).code, 4, size)
            self.assertEqual(self.run_raw("read", self.log).code, 4, size)
            # A writer looks at the last segments only, so that opening takes no longer for a large log.
            self.assertIn(self.run_raw("append", self.log, stdin=b"x").code, (0, 4), size)

    def test_a_damaged_control_file_or_index_crashes_nobody(self):
        for name in ["control"] + [str(each.relative_to(self.log)) for each in (self.log / "segments").glob("*.idx")]:
            path = self.log / name
            whole = path.read_bytes()
            for bad in [b"", whole[:10], b"\xff" * len(whole), b"\0" * len(whole)]:
                path.write_bytes(bad)
                for command in COMMANDS:
                    done = self.run_raw(command, self.log, *(["--from", "2"] if command == "read" else []))
                    self.assertIn(done.code, (0, 1, 4), f"{name}, {command}: {done.code} {done.err}")
            path.write_bytes(whole)


class Create(CliTest):
    def test_segment_sizes(self):
        for text, size in [("1MiB", 1 << 20), ("2M", 2 << 20), ("4 MiB", 4 << 20), ("1048576", 1 << 20), ("1024KiB", 1 << 20),
                           ("8388608B", 8 << 20)]:
            log = self.folder / f"log {text}"
            self.create(log, "--segment-size", text)
            self.assertEqual(self.run_cli("info", log, "--json").json[0]["segment_size_bytes"], size)
        for bad in ["", "0", "512KiB", "3MiB", "4GiB", "64MB", "64 mib", "-1", "1.5MiB", "MiB", "99999999999999999999",
                    "18014398509481984KiB"]:
            self.run_cli("create", "bad", "--segment-size", bad, code=2)
        self.assertFalse((self.folder / "bad").exists())

    def test_journal_sizes(self):
        for text, size in [("256KiB", 256 << 10), ("260K", 260 << 10), ("3 MiB", 3 << 20), ("266240", 266240)]:
            log = self.folder / f"log {text}"
            self.create(log, "--segment-size", "1MiB", "--journal-size", text)
            self.assertEqual(self.run_cli("info", log, "--json").json[0]["journal_size_bytes"], size)
            self.assertEqual((log / "journal").stat().st_size, size)
        for bad in ["", "0", "4KiB", "252KiB", "257KiB", "262145", "-1", "1.5MiB", "1TB", "99999999999999999999"]:
            self.assertIn("multiple of 4KiB", self.run_cli("create", "bad", "--journal-size", bad, code=2).err)
        self.assertFalse((self.folder / "bad").exists())

    def test_what_is_there_is_not_touched(self):
        self.create()
        self.append(b"x")
        before = tree(self.folder)
        self.assertIn(str(self.log), self.run_cli("create", self.log, code=1).err)
        self.assertEqual(tree(self.folder), before)
        (self.folder / "file").write_text("x")
        self.run_cli("create", self.folder / "file", code=1)
        self.assertEqual((self.folder / "file").read_text(), "x")

    def test_no_parent_directory(self):
        self.assertIn(str(self.folder / "none"), self.run_cli("create", self.folder / "none" / "deeper", code=3).err)

    def test_strange_names(self):
        for name in ["with space", "new\nline", "ü", "-dash", "a" * 200]:
            self.run_cli("create", "--", name)
            self.run_cli("append", "--", name, stdin=b"x")
            self.assertEqual(self.run_cli("read", "--", name).lines, ["x"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
