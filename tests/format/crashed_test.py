"""Logs that a power cut left, read by the engine and by reader.py: what only the journal has is found by both.

A writer is killed while it commits; then the segments lose what was not synced, in whole, in part, or with their files,
and the boot becomes another one. Both readers must see the same, at least everything that had been acknowledged, and
recovery must bring back exactly that.
"""

import contextlib
import functools
import json
import os
import pathlib
import random
import signal
import stat
import subprocess
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import reader  # noqa: E402
import reader_journal  # noqa: E402
from two_readers import (BIN, SEGMENT, Logs, cli, flip, make_anchor, poke, reboot, seed,  # noqa: E402
                         segment_file, set_control_durable)

NOBODY = 65534
# The same bytes are read again and again.
reader.crc32c = reader_journal.crc32c = functools.lru_cache(maxsize=None)(reader.crc32c)


def journal_of(log):
    return reader.Log(log).journal


def kill_while_it_commits(log, dice, lines, acknowledged):
    """Appends that many lines; waits for that many answers, then kills the writer. Returns the answered sequences."""
    writer = subprocess.Popen([BIN, "append", log, "--jsonl", "--acks", "--durable"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE)
    try:
        sent = answered = last = 0
        while answered < acknowledged:
            burst = min(dice.choice((1, 2, 30)), lines - sent)
            for _ in range(burst):
                size = dice.choice((0, 3, 100, 4000)) if dice.randrange(60) else 150_000
                writer.stdin.write(json.dumps({"data": chr(97 + sent % 26) * size, "type": sent}).encode() + b"\n")
                sent += 1
            writer.stdin.flush()
            while answered < min(sent, acknowledged):
                answer = json.loads(writer.stdout.readline())
                assert answer["durable"], answer
                answered, last = answered + 1, answer["sequence"]
        writer.stdin.write(b"".join(b"{\"data\":\"not acknowledged\"}\n" for _ in range(50)))
        writer.stdin.flush()
        writer.send_signal(signal.SIGKILL)
        return last
    finally:
        writer.kill()
        writer.communicate()


class Crashed(Logs):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dice = random.Random(seed)
        cls.logs = []  # with the last sequence that was acknowledged
        for name, journal_size, lines in [("one entry", "256KiB", 1), ("few", "256KiB", 40), ("laps", "256KiB", 600),
                                          ("large", "8MiB", 400)]:
            log = cls.root / name
            cli("create", log, "--segment-size", "1MiB", "--journal-size", journal_size)
            if name == "laps":
                cli("append", log, stdin=b"the first epoch\n")
            cls.logs.append((name, log, kill_while_it_commits(log, cls.dice, lines, lines)))

    def files_after(self, log, synced_to):
        """The segments with bytes that are not synced: number, path, the offset from which on."""
        numbers = [int(path.stem) // SEGMENT for path in (log / "segments").glob("*.seg")]
        return [(number, segment_file(log, number), max(synced_to - number * SEGMENT, 0))
                for number in sorted(numbers) if (number + 1) * SEGMENT > synced_to]

    def lose_all(self, log, synced_to):
        for _, path, from_ in self.files_after(log, synced_to):
            poke(path, from_, bytes(SEGMENT - from_))

    def lose_sectors(self, log, synced_to):
        """Any sector may be the old one, all zeros."""
        for _, path, from_ in self.files_after(log, synced_to):
            poke(path, from_, bytes(-from_ % 512))
            for at in range(from_ + -from_ % 512, SEGMENT, 512):
                if self.dice.randrange(2):
                    poke(path, at, bytes(512))

    def lose_to_garbage(self, log, synced_to):
        """More than a disk does."""
        for _, path, from_ in self.files_after(log, synced_to):
            poke(path, from_, self.dice.randbytes(SEGMENT - from_))

    def lose_files(self, log, synced_to):
        for _, path, from_ in self.files_after(log, synced_to):
            if from_ == 0:
                path.unlink()
            else:
                os.truncate(path, from_)

    def check(self, log, acknowledged):
        """Both readers, then recovery, then both again. Returns verdict and records before recovery."""
        _, verdict = self.read_ours(log)
        verdict, records = self.compare(log, verdict["verdict"], records_too=False)
        self.assertIn(verdict["verdict"], ("ok", "torn_tail"))
        self.assertGreaterEqual(len(records), acknowledged)
        end = reader.Log(log)
        for _ in end.records():
            pass
        cli("append", log)  # recovers
        self.compare_records(records, self.read_theirs(log))
        self.compare(log, "ok")
        for path in (log / "segments").glob("*.seg"):
            if int(path.stem) < end.end.position:
                self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o640, path)
        return verdict, records

    def test_what_the_kill_left_is_all_there(self):
        for name, original, acknowledged in self.logs:
            log = self.copy_of(original)
            with self.subTest(name, seed=seed):
                self.check(log, acknowledged)

    def test_a_power_cut(self):
        for name, original, acknowledged in self.logs:
            synced_to = journal_of(original).synced_to
            for lose in (self.lose_all, self.lose_sectors, self.lose_to_garbage, self.lose_files):
                log = self.copy_of(original)
                lose(log, synced_to)
                reboot(log)
                with self.subTest(name, lose=lose.__name__, seed=seed):
                    verdict, records = self.check(log, acknowledged)
                    self.assertIn("\"not acknowledged\"" if len(records) > acknowledged else "data", records[-1])
                    if lose in (self.lose_all, self.lose_files):
                        self.assertEqual(verdict["verdict"], "ok")

    def test_something_was_lost_without_the_journal(self):
        """So that the tests above test something; of a log that was killed right after a sync, nothing."""
        lost = 0
        for name, original, acknowledged in self.logs:
            log = self.copy_of(original)
            self.lose_all(log, journal_of(log).synced_to)
            reboot(log)
            meta = reader.LogMeta(log / "log.meta")
            poke(log / "journal", 0, make_anchor(meta, flags=1) + bytes(4096))
            set_control_durable(log, 0)
            with self.subTest(name):
                _, verdict = self.read_ours(log)
                _, records = self.compare(log, verdict["verdict"], records_too=False)
                lost += max(acknowledged - len(records), 0)
        self.assertGreater(lost, 0)

    def test_one_damaged_anchor_loses_nothing(self):
        for name, original, acknowledged in self.logs:
            for block in (0, 4096):
                log = self.copy_of(original)
                self.lose_all(log, journal_of(original).synced_to)
                reboot(log)
                flip(log / "journal", block + self.dice.randrange(112), self.dice.randrange(8))
                with self.subTest(name, block=block, seed=seed):
                    self.check(log, acknowledged)

    def test_a_damaged_journal(self):
        def both_anchors(log, _):
            flip(log / "journal", 50)
            flip(log / "journal", 4096 + 50)

        def without(log, _):
            (log / "journal").unlink()

        def short(log, _):
            os.truncate(log / "journal", (256 << 10) - 1)

        def entry(which):
            def damage(log, journal):
                hit = journal.entries[which]
                flip(log / "journal", hit.offset + self.dice.randrange(12, 96 + hit.length), self.dice.randrange(8))
            return damage

        def first_entry_and_old_control(log, journal):
            entry(0)(log, journal)
            set_control_durable(log, journal.synced_to)  # a page of long ago: only later entries know

        journals = [(name, original, journal_of(original)) for name, original, _ in self.logs]
        with_many = [each for each in journals if len(each[2].entries) > 2]
        self.assertTrue(with_many)
        for name, original, journal in with_many:
            # Entry k is damaged: whoever wrote a later one knew it to be durable, or control did.
            for what, damage in [("both anchors", both_anchors), ("no journal", without), ("a short one", short),
                                 ("the first entry", entry(0)), ("the second entry", entry(1)),
                                 ("the first entry, old control", first_entry_and_old_control)]:
                log = self.copy_of(original)
                self.lose_all(log, journal.synced_to)
                reboot(log)
                damage(log, journal)
                with self.subTest(name, what=what, seed=seed):
                    self.compare(log, "corrupt", records_too=False)
                    before = [path.read_bytes() for path in sorted(log.rglob("*")) if path.is_file()]
                    cli("append", log, expect=(4,))
                    self.assertEqual(before, [path.read_bytes() for path in sorted(log.rglob("*")) if path.is_file()])

    def test_the_last_entry_is_torn(self):
        for name, original, _ in self.logs:
            journal = journal_of(original)
            last = journal.entries[-1]
            for known in (True, False):
                log = self.copy_of(original)
                self.lose_all(log, journal.synced_to)
                reboot(log)
                flip(log / "journal", last.offset + 20)
                before_it = max(journal.anchor.synced_to,
                                *(entry.position + entry.length for entry in journal.entries[:-1]), 0)
                set_control_durable(log, last.position + last.length + 1 if known else before_it)
                with self.subTest(name, known=known, seed=seed):
                    if known:  # to have been acknowledged
                        verdict, _ = self.compare(log, "corrupt", records_too=False)
                        self.assertEqual(verdict["file"], "journal")
                    else:
                        self.check(log, 0)

    def test_an_entry_of_another_opening_is_nothing(self):
        name, original, acknowledged = self.logs[1]
        log = self.copy_of(original)
        cli("append", log, stdin=b"one more\n")
        old = (log / "journal").read_bytes()
        again = self.copy_of(log)
        reboot(again)
        with open(again / "journal", "r+b") as file:  # the ring as it was, the anchors of the new one
            file.seek(8192)
            file.write((original / "journal").read_bytes()[8192:])
        self.assertNotEqual(old, (again / "journal").read_bytes())
        with self.subTest(name):
            verdict, records = self.compare(again, "ok")
            self.assertGreater(len(records), acknowledged)
            self.assertEqual(verdict["records"], len(records))

    @unittest.skipUnless(os.geteuid() == 0, "only root can become another user")
    def test_without_permission_for_the_journal(self):
        os.chmod(self.root, 0o711)
        if not may_run_as_nobody():
            self.skipTest("the program is not reachable for others")
        for name, original, _ in self.logs:
            for lose in (None, self.lose_all, self.lose_to_garbage):
                log = self.copy_of(original)
                if lose is not None:
                    lose(log, journal_of(original).synced_to)
                    reboot(log)
                for path in [log, *log.rglob("*")]:
                    if path.name != "journal":
                        os.chmod(path, 0o755 if path.is_dir() else 0o644)
                with self.subTest(name, lose=getattr(lose, "__name__", None), seed=seed):
                    theirs = json.loads(subprocess.run([BIN, "verify", log, "--json"], user=NOBODY, group=NOBODY,
                                                       extra_groups=[], capture_output=True, check=False).stdout)
                    theirs.pop("detail", None)
                    theirs.pop("journal", None)
                    with nobody():
                        _, ours = self.read_ours(log)
                    self.assertEqual(ours, theirs)
                    self.assertNotEqual(theirs["verdict"], "corrupt")


def may_run_as_nobody():
    try:
        return subprocess.run([BIN, "--version"], user=NOBODY, capture_output=True, check=False).returncode == 0
    except PermissionError:
        return False


@contextlib.contextmanager
def nobody():
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


if __name__ == "__main__":
    if not os.access(BIN, os.X_OK):
        print(f"skipped: TAILRACE_BIN is no program: {BIN!r}", file=sys.stderr)
        sys.exit(77)
    print(f"TAILRACE_SEED={seed}", file=sys.stderr)
    unittest.main(verbosity=2)
