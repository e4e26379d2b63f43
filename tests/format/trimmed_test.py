"""The engine and reader.py about logs whose oldest segments were removed."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from two_readers import Logs, cli, flip, peek, poke, reboot, segment_file  # noqa: E402

RETAINED = 264  # in control


class Trimmed(Logs):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cli("trim", cls.big, "--before", "1MiB", "--yes")
        cls.first = min(int(path.stem) for path in (cls.big / "segments").glob("*.seg")) >> 20

    def test_it_begins_later(self):
        self.assertGreater(self.first, 1)
        self.compare(self.big, "ok")
        log = self.copy_of(self.big)
        reboot(log)
        self.compare(log, "ok")

    def test_what_an_interrupted_removal_left_is_nothing(self):
        log = self.copy_of(self.big)
        segment_file(log, self.first - 1).write_bytes(b"left over")
        self.compare(log, "ok")

    def test_an_anchor_that_knows_more_than_control(self):
        log = self.copy_of(self.big)
        poke(log / "control", RETAINED, bytes(8))
        self.compare(log, "ok", records_too=False)
        poke(log / "journal", 60, b"damage")
        self.compare(log, "ok", records_too=False)

    def test_a_missing_first_segment(self):
        log = self.copy_of(self.big)
        segment_file(log, self.first).unlink()
        verdict, _ = self.compare(log, "corrupt")
        self.assertEqual(verdict["file"], f"segments/{self.first << 20:020}.seg")

    def test_a_damaged_first_header(self):
        log = self.copy_of(self.big)
        self.assertNotEqual(peek(segment_file(log, self.first), 48, 8), bytes(8))
        flip(segment_file(log, self.first), 48)
        self.compare(log, "corrupt")


if __name__ == "__main__":
    unittest.main(verbosity=2)
