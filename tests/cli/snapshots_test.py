"""`tailrace snapshots`, on snapshots that this script makes as docs/format.md says."""

import os
import pathlib
import struct
import sys
import unittest

from cli import CliTest, patch, segments, tree

SOURCE = pathlib.Path(os.environ["TAILRACE_SOURCE_DIR"])
sys.path.insert(0, str(SOURCE / "tests/format"))
from reader_journal import crc32c  # noqa: E402

CREATED_NS = 1_700_000_000_123_456_789


def golden(number):
    """A body and its XXH3-128, which Python has none of: from a file of format version 1."""
    data = (SOURCE / f"tests/data/snapshots/{number}.snap").read_bytes()
    return data[4096:], data[72:88]


class Snapshots(CliTest):
    def setUp(self):
        super().setUp()
        self.create()
        self.append(b"".join(b"%d\n" % i for i in range(1, 11)))

    def frame(self, sequence):
        record = self.records("--from", sequence, "-n", 1)[0]
        position = int(record["position"])
        with open(segments(self.log)[0], "rb") as file:
            file.seek(position)
            size, crc = struct.unpack("<II", file.read(8))
        return record["epoch"], position, size, crc

    def make(self, sequence, example=3, name="words", schema=b"words", version=1):
        """Returns the body."""
        body, digest = golden(example)
        epoch, position, size, crc = self.frame(sequence)
        meta = (self.log / "log.meta").read_bytes()
        rest = struct.pack("<16sQQQIIQ16sqHH4x152s1024s2816x", meta[16:32], epoch, sequence, position, size, crc,
                           len(body), digest, CREATED_NS, len(name.encode()), len(schema), name.encode(), schema)
        header = struct.pack("<8sII", b"TTRLSNP1", version, crc32c(meta[32:40], rest)) + rest
        self.assertEqual(len(header), 4096)
        for folder in (self.log / "snapshots", self.log / "snapshots" / name):
            folder.mkdir(mode=0o750, exist_ok=True)
        path = self.path(sequence, name)
        path.write_bytes(header + body)
        path.chmod(0o640)
        return body

    def path(self, sequence, name="words"):
        return self.log / "snapshots" / name / f"{sequence:020}.snap"

    def snapshots(self, *args, code=0):
        return self.run_cli("snapshots", self.log, *args, code=code)

    def sequences(self, name="words"):
        return [each["sequence"] for each in self.snapshots("list", name, "--json").json]

    def test_none(self):
        self.assertEqual(self.snapshots("list", "--json").out, b"")
        self.assertEqual(self.snapshots("list").lines[0].split(), ["STATE", "SEQUENCE", "SIZE", "TAKEN", "USABLE"])
        self.snapshots("verify", "words", code=3)
        self.snapshots("prune", "words", "--keep", 1, code=3)
        self.assertEqual(self.snapshots("export", "words", code=3).out, b"")
        self.run_cli("snapshots", self.folder / "none", "list", code=3)

    def test_list(self):
        for sequence in (2, 7):
            self.make(sequence)
        self.make(5, 1, "squares", b"u32 \xff")
        epoch, position, _, _ = self.frame(7)
        listed = self.snapshots("list", "--json").json
        self.assertEqual([(each["name"], each["sequence"]) for each in listed],
                         [("squares", 5), ("words", 7), ("words", 2)])
        self.assertEqual(listed[1], {
            "name": "words", "sequence": 7, "epoch": epoch, "position": str(position), "body_size_bytes": 11,
            "created_ns": str(CREATED_NS), "schema": "words", "path": "snapshots/words/00000000000000000007.snap",
            "trouble": None})
        self.assertEqual(listed[0]["body_size_bytes"], 4000)
        table = self.snapshots("list", "words").lines
        self.assertEqual(len(table), 3)
        self.assertIn("2023-11-14T22:13:20.123456789Z", table[1])
        self.assertTrue(table[1].endswith("yes"))

    def test_list_tells_of_trouble(self):
        self.make(2)
        self.make(4)
        self.make(6, version=2)
        patch(self.path(4), 300, b"x")
        listed = self.snapshots("list", "words", "--json").json
        self.assertEqual([(each["sequence"], each["trouble"] and each["trouble"]["error"]) for each in listed],
                         [(6, "unsupported_version"), (4, "corrupt"), (2, None)])
        self.assertIn("00000000000000000004.snap", listed[1]["trouble"]["message"])
        self.assertTrue(self.snapshots("list").lines[2].endswith("corrupt"))

    def test_verify(self):
        for sequence in (2, 4, 6):
            self.make(sequence)
        self.assertEqual(self.snapshots("verify", "words").lines, ["words 6: ok", "words 4: ok", "words 2: ok"])
        self.assertEqual(self.snapshots("verify", "words", 4).lines, ["words 4: ok"])
        self.snapshots("verify", "words", 5, code=3)
        patch(self.path(4), 4096, b"H")  # the body
        self.assertEqual([each["trouble"] for each in self.snapshots("list", "--json").json], [None] * 3)
        damaged = self.snapshots("verify", "words", "--json", code=4).json
        self.assertEqual([(each["sequence"], each["verdict"]) for each in damaged],
                         [(6, "ok"), (4, "corrupt"), (2, "ok")])
        self.assertIn("checksum of its body", damaged[1]["trouble"]["message"])
        self.snapshots("verify", "words", 4, code=4)
        self.snapshots("verify", "words", 6)
        self.make(4, version=7)
        self.assertIn("version 7", self.snapshots("verify", "words", code=6).out.decode())
        patch(self.path(2), 300, b"x")
        self.snapshots("verify", "words", code=4)

    def test_prune(self):
        for sequence in range(1, 6):
            self.make(sequence)
        before = tree(self.log)
        plan = self.run_raw("snapshots", self.log, "prune", "words", "--keep", "2")
        self.assertEqual(plan.code, 1)
        self.assertEqual(plan.lines, ["would remove words 1", "would remove words 2", "would remove words 3"])
        self.assertIn("--keep 2 --yes", plan.err)
        planned = self.run_raw("snapshots", self.log, "prune", "words", "--keep", "2", "--json").json[0]
        self.assertEqual((planned["done"], [each["sequence"] for each in planned["removed"]]), (False, [1, 2, 3]))
        self.assertEqual(tree(self.log), before)
        self.assertIn("nothing goes", self.snapshots("prune", "words", "--keep", "5").out.decode())
        self.assertEqual(self.snapshots("prune", "words", "--keep", "2", "--yes").lines,
                         ["removed words 1", "removed words 2", "removed words 3"])
        self.assertEqual(self.sequences(), [5, 4])
        patch(self.path(5), 20, b"xx")
        self.assertEqual(self.snapshots("prune", "words", "--keep", "1", "--yes", "--json").json[0]["removed"], [])
        self.assertEqual(self.sequences(), [5, 4])

    def test_export(self):
        words, squares = self.make(3), self.make(8, 1, schema=b"squares")
        self.assertEqual(self.snapshots("export", "words").out, squares)
        self.assertEqual(self.snapshots("export", "words", "--at", 8).out, squares)
        self.assertEqual(self.snapshots("export", "words", "--at", 7).out, words)
        self.snapshots("export", "words", "--at", 2, code=3)
        target = self.folder / "body"
        target.write_bytes(b"what was there before")
        self.assertEqual(self.snapshots("export", "words", "-o", target).out, b"")
        self.assertEqual(target.read_bytes(), squares)
        self.snapshots("export", "words", "-o", self.folder / "none" / "body", code=1)
        patch(self.path(8), 5000, b"!!")
        fallen_back = self.run_raw("snapshots", self.log, "export", "words", "-o", target)
        self.assertEqual(fallen_back.code, 0)
        self.assertIn("passed over: ", fallen_back.err)
        self.assertIn("00000000000000000008.snap", fallen_back.err)
        self.assertEqual(target.read_bytes(), words)
        patch(self.path(3), 4100, b"!!")
        before = tree(self.folder)
        self.assertEqual(self.run_raw("snapshots", self.log, "export", "words", "-o", target).code, 3)
        self.assertEqual(tree(self.folder), before)

    def test_what_makes_no_sense_is_usage(self):
        self.snapshots(code=2)
        self.snapshots("list", "../x", code=2)
        self.snapshots("verify", code=2)
        self.snapshots("verify", "words", "x", code=2)
        self.snapshots("prune", "words", code=2)
        for keep in ("0", "-1", "x", "5000000000"):
            self.snapshots("prune", "words", "--keep", keep, code=2)
        self.snapshots("export", code=2)
        self.snapshots("export", "words.current", code=2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
