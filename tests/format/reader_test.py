"""Two readers of the same logs: the engine, through the command line, and reader.py, written from docs/format.md alone.

Logs are made through `tailrace append`, then damaged in every way that has a verdict of its own. Records must agree
byte by byte (as `read --json` prints them), verdicts field by field (as `verify --json` does).
"""

import json
import os
import pathlib
import random
import re
import signal
import struct
import subprocess
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import reader  # noqa: E402
from two_readers import (BIN, SEGMENT, Logs, cli, durable, flip, peek, poke, reboot, seed, segment_file,  # noqa: E402
                         set_control_durable, set_durable, undump)

DOCUMENT = HERE.parent.parent / "docs" / "format.md"


class Sound(Logs):
    def test_every_sort_of_record(self):
        verdict, records = self.compare(self.big, "ok")
        self.assertEqual(verdict["records"], len(records))
        parsed = [json.loads(record) for record in records]
        self.assertEqual([record["sequence"] for record in parsed], list(range(1, len(parsed) + 1)))
        self.assertEqual({record["epoch"] for record in parsed}, {1, 2, 3, 4, 5})
        self.assertGreaterEqual(int(parsed[-1]["position"]), 3 * SEGMENT)
        self.assertEqual({record["encoding"] for record in parsed}, {"utf8", "base64"})
        self.assertEqual({len(record["keys"]) for record in parsed}, {0, 1, 2, 3, 4, 255})

    def test_as_a_program(self):
        done = subprocess.run([sys.executable, HERE / "reader.py", self.small], capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout, cli("read", self.small, "--json", "--ids").stdout)
        self.assertEqual(json.loads(done.stderr), json.loads(cli("verify", self.small, "--json").stdout))

    def test_the_example_of_the_document(self):
        log = self.root / "example"
        self.write_example(log)
        _, records = self.compare(log, "ok")
        parsed = [json.loads(record) for record in records]
        self.assertEqual([(int(record["position"]), record["epoch"], record["type"], record["keys"], record["data"][:5])
                          for record in parsed],
                         [(0x1040, 1, 7, ["user:ada"], "hello"), (0x10a0, 1, 0, [], "one"), (0x10e0, 1, 0, [], ""),
                          (0x1140, 2, 0, [], "aaaaa"), (0x7b280, 2, 0, [], "bbbbb"), (0x101000, 2, 8, [], "ccccc")])

    def write_example(self, log):
        for name, text in re.findall(r"^```dump\n# (\S+)\n(.*?)^```", DOCUMENT.read_text(), re.M | re.S):
            (log / name).parent.mkdir(parents=True, exist_ok=True)
            (log / name).write_bytes(undump(text))
        (log / "writer.lock").touch()

    def test_the_crashed_example_of_the_document(self):
        log = self.root / "crashed-example"
        self.write_example(log)
        os.replace(log / "crashed" / "journal", log / "journal")
        for path in (log / "segments").iterdir():
            path.unlink()
        set_control_durable(log, 0x10a0)
        poke(log / "control", 144, b"\1")  # running
        _, records = self.compare(log, "ok", records_too=False)
        self.assertEqual([json.loads(record)["data"] for record in records], ["hello"])
        cli("append", log)
        self.compare_records(records, self.read_theirs(log))

    def test_an_empty_log(self):
        log = self.root / "empty"
        cli("create", log, "--segment-size", "2MiB")
        self.compare(log, "ok")
        cli("append", log)  # an epoch, but no record
        self.compare(log, "ok")

    def test_a_log_of_one_full_segment(self):
        log = self.root / "full"
        cli("create", log, "--segment-size", "1MiB")
        room = SEGMENT - 4096 - 64  # behind the epoch start
        cli("append", log, "--length-prefix", stdin=struct.pack("<I", room - 32) + b"f" * (room - 32))
        self.compare(log, "ok")
        cli("append", log, stdin=b"the next epoch begins with a segment\n")
        self.compare(log, "ok")

    def test_a_log_that_is_being_written(self):
        log = self.root / "live"
        cli("create", log, "--segment-size", "1MiB")
        writer = subprocess.Popen([BIN, "append", log, "--acks"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            for i in range(20):
                writer.stdin.write(b"record %d\n" % i)
                writer.stdin.flush()
                self.assertIn(b"sequence", writer.stdout.readline())
            self.compare(log, "ok")
            poke(segment_file(log, 0), 4096 + 64 * 50, b"what a writer may be about to publish")
            self.compare(log, "ok")
            writer.send_signal(signal.SIGKILL)
            writer.wait()
            _, records = self.compare(log, "torn_tail")
            self.assertEqual(len(records), 20)
            cli("append", log, stdin=b"the next writer\n")
            _, records = self.compare(log, "ok")
            self.assertEqual(json.loads(records[-1])["sequence"], 21)
        finally:
            writer.kill()
            writer.communicate()


class Damaged(Logs):
    def test_a_flipped_bit_anywhere_in_durable_data(self):
        dice = random.Random(seed)
        end = durable(self.small)
        for _ in range(25):
            log = self.copy_of(self.small)
            offset = dice.randrange(4096, end)
            flip(segment_file(log, 0), offset, dice.randrange(8))
            with self.subTest(seed=seed, offset=offset):
                records, _ = self.read_ours(log)
                # The unused bytes behind a frame have no checksum; nothing is lost there.
                whole = len(records) == len(self.read_theirs(self.small))
                self.compare(log, "ok" if whole else "corrupt")

    def test_a_flipped_bit_in_what_was_not_durable(self):
        dice = random.Random(seed + 1)
        end = durable(self.small)
        for _ in range(25):
            log = self.copy_of(self.small)
            set_durable(log, 4160)
            offset = dice.randrange(4160, end)
            flip(segment_file(log, 0), offset, dice.randrange(8))
            with self.subTest(seed=seed, offset=offset):
                records, _ = self.read_ours(log)
                whole = len(records) == len(self.read_theirs(self.small))
                self.compare(log, "ok" if whole else "torn_tail")

    def test_half_a_batch(self):
        places = [int(json.loads(record)["position"]) for record in self.read_theirs(self.small)[7:10]]
        position = places[0]
        for name, sequence, size in [("first", 8, 4), ("second", 9, 32), ("third", 10, 4)]:
            bad = places[sequence - 8]
            log = self.copy_of(self.small)
            set_durable(log, position)
            poke(segment_file(log, 0), bad, bytes(size))
            with self.subTest(name):
                verdict, records = self.compare(log, "torn_tail")
                self.assertEqual(len(records), 7)
                self.assertEqual(verdict["offset"], bad)
                self.assertEqual(verdict["sequence"], sequence)
            set_durable(log, position + 32)
            with self.subTest(name, durable="the batch"):
                self.compare(log, "corrupt")

    def test_garbage_behind_the_end(self):
        end = durable(self.small)
        for name, offset, data in [("at the end", end, b"\x40\0\0\0"), ("later", end + 5000, b"x"),
                                   ("last byte", SEGMENT - 1, b"x"),
                                   ("an old frame", end, peek(segment_file(self.small, 0), 4160, 64))]:
            log = self.copy_of(self.small)
            poke(segment_file(log, 0), offset, data)
            with self.subTest(name):
                self.compare(log, "torn_tail")
                cli("append", log, stdin=b"cut and gone on\n")
                self.compare(log, "ok")

    def test_a_segment_cut_short(self):
        position = int(json.loads(self.read_theirs(self.small)[3])["position"])
        for size in (0, 8, 4095, 4096, position, position + 1, position + 40, durable(self.small)):
            for floor in (durable(self.small), 4096, 0):
                log = self.copy_of(self.small)
                set_durable(log, floor)
                os.truncate(segment_file(log, 0), size)
                with self.subTest(size=size, durable=floor):
                    _, verdict = self.read_ours(log)
                    _, records = self.compare(log, verdict["verdict"], records_too=False)
                    # The engine's reader does not enter a short segment at all: it would map it.
                    theirs = self.read_theirs(log)
                    self.assertEqual(theirs, records[:len(theirs)])
                    if size < durable(self.small):
                        self.assertLess(len(records), 11)

    def test_segments_of_a_longer_log(self):
        last = max(int(path.stem) for path in (self.big / "segments").glob("*.seg")) // SEGMENT
        self.assertGreaterEqual(last, 3)

        def headless(number):
            return lambda log: flip(segment_file(log, number), 48)

        def without(number):
            return lambda log: segment_file(log, number).unlink()

        def exchanged(log):
            os.rename(segment_file(log, 1), log / "aside")
            os.rename(segment_file(log, 2), segment_file(log, 1))
            os.rename(log / "aside", segment_file(log, 2))

        for name, damage in [
                ("payload", lambda log: flip(segment_file(log, 1), 5000)), ("0 missing", without(0)),
                ("1 missing", without(1)), ("header of 0", headless(0)), ("header of 1", headless(1)),
                ("no magic", lambda log: poke(segment_file(log, 1), 0, bytes(8))), ("1 and 2 exchanged", exchanged)]:
            log = self.copy_of(self.big)
            damage(log)
            with self.subTest(name):
                self.compare(log, "corrupt")
        log = self.copy_of(self.big)
        (log / "segments" / "00000000000000000001.seg").write_bytes(b"no segment")
        (log / "segments" / "1048576.seg").write_bytes(b"no segment")
        self.compare(log, "ok")

    def test_no_segments_at_all(self):
        log = self.copy_of(self.small)
        for path in (log / "segments").iterdir():
            path.unlink()
        self.compare(log, "corrupt")
        set_durable(log, 0)
        self.compare(log, "ok")

    def test_what_is_no_log_is_refused_by_both(self):
        def version(name, offset):
            return lambda log: poke(log / name, offset, b"\x09")

        for name, damage in [("no meta", lambda log: (log / "log.meta").unlink()),
                             ("short meta", lambda log: os.truncate(log / "log.meta", 127)),
                             ("meta version", version("log.meta", 8)),
                             ("meta damaged", lambda log: flip(log / "log.meta", 40)),
                             ("no control", lambda log: (log / "control").unlink()),
                             ("short control", lambda log: os.truncate(log / "control", 4096)),
                             ("control version", version("control", 8)),
                             ("another log's control", lambda log: flip(log / "control", 16))]:
            log = self.copy_of(self.small)
            damage(log)
            with self.subTest(name):
                with self.assertRaises(reader.NotALog):
                    reader.Log(log)
                self.assertNotIn(cli("verify", log, "--json", expect=range(1, 8)).returncode, (4, 6))


class Comparison(Logs):
    """The comparison itself can fail."""

    def test_a_record_that_differs(self):
        ours = self.read_theirs(self.small)
        for wrong in ("\"data\":\"oNe\"", "\"type\":8"):
            right = "\"data\":\"one\"" if "data" in wrong else "\"type\":7"
            with self.assertRaisesRegex(AssertionError, "records differ"):
                self.compare_records([ours[0].replace(right, wrong), *ours[1:]], ours)
        with self.assertRaisesRegex(AssertionError, "number of records"):
            self.compare_records(ours[:-1], ours)

    def test_a_reader_that_does_not_look_at_checksums(self):
        log = self.copy_of(self.small)
        flip(segment_file(log, 0), int(json.loads(self.read_theirs(log)[0])["position"]) + 64)
        crc32c, reader.crc32c = reader.crc32c, AlwaysRight()
        try:
            with self.assertRaises(AssertionError):
                self.compare(log, "corrupt")
        finally:
            reader.crc32c = crc32c

    def test_a_reader_that_forgets_the_floor(self):
        log = self.copy_of(self.small)
        flip(segment_file(log, 0), durable(log) - 64)

        class Forgetful(reader.Log):
            def verdict(self):
                self.floor = 0
                return super().verdict()

        right, reader.Log = reader.Log, Forgetful
        try:
            with self.assertRaises(AssertionError):
                self.compare(log, "corrupt")
        finally:
            reader.Log = right


class AlwaysRight:
    """A checksum that equals every other."""

    def __call__(self, *_):
        return self

    def __eq__(self, _):
        return True

    def __ne__(self, _):
        return False


if __name__ == "__main__":
    if not os.access(BIN, os.X_OK):
        print(f"skipped: TAILRACE_BIN is no program: {BIN!r}", file=sys.stderr)
        sys.exit(77)
    print(f"TAILRACE_SEED={seed}", file=sys.stderr)
    unittest.main(verbosity=2)
