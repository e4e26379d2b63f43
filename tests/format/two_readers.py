"""Logs made through the command line, ways to damage them, and the comparison of the two readers."""

import base64
import json
import os
import pathlib
import random
import shutil
import struct
import subprocess
import tempfile
import unittest

import reader

BIN = os.environ.get("TAILRACE_BIN", "")
SEGMENT = 1 << 20
BOOT_ID, DURABLE = 128, 512  # their offsets in control
EXIT = {"ok": 0, "torn_tail": 6, "corrupt": 4}
seed = int(os.environ.get("TAILRACE_SEED", random.SystemRandom().randrange(2**32)))


def cli(*arguments, stdin=b"", expect=(0,)):
    done = subprocess.run([BIN, *map(str, arguments)], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=120, check=False)
    if done.returncode not in expect:
        raise AssertionError(f"{arguments}: exit {done.returncode}: {done.stderr.decode(errors='replace')}")
    return done


def jsonl(*values):
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def as_base64(data):
    return {"encoding": "base64", "data": base64.b64encode(data).decode()}


def segment_file(log, number):
    return log / "segments" / f"{number * SEGMENT:020}.seg"


def poke(path, offset, data):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def peek(path, offset, size):
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(size)


def flip(path, offset, bit=0):
    poke(path, offset, bytes([peek(path, offset, 1)[0] ^ 1 << bit]))


def set_durable(log, position):
    """As if nothing above had ever been acknowledged: in control, and in a clean anchor with an empty ring."""
    set_control_durable(log, position)
    meta = reader.LogMeta(log / "log.meta")
    poke(log / "journal", 0, make_anchor(meta, generation=1 << 40, flags=1, synced_to=position))


def set_control_durable(log, position):
    """As if an older page of control had reached the disk."""
    poke(log / "control", DURABLE, struct.pack("<Q", position))


def make_anchor(meta, nonce=bytes(16), generation=1, number=1, offset=8192, predecessor_crc=0, flags=0, synced_to=0):
    body = meta.log_id + nonce + struct.pack("<QQQQIIQQQ", generation, 1, number, offset, predecessor_crc, flags,
                                             synced_to, 0, meta.journal_size)
    body += bytes(4096 - 16 - len(body))
    return b"TTRLANC1" + struct.pack("<II", 0, reader.crc32c(meta.salt, body)) + body


def reboot(log):
    """As after a power cut: control was written in another boot."""
    poke(log / "control", BOOT_ID, b"another boot id!")


def durable(log):
    return struct.unpack("<Q", peek(log / "control", DURABLE, 8))[0]


def undump(text):
    """The bytes of a hex dump; a line "*" stands for lines equal to the one before, "|" begins a remark."""
    data = bytearray()
    for line in text.splitlines():
        if line == "*":
            continue
        offset, *octets = line.partition("|")[0].split()
        if missing := int(offset, 16) - len(data):
            data += data[-16:] * (missing // 16)
        data += bytes.fromhex("".join(octets))
    return bytes(data)


class Logs(unittest.TestCase):
    maxDiff = 2000
    count = 0

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="tailrace-reader-test-")
        cls.root = pathlib.Path(cls.folder.name)
        cls.big = cls.make_big(cls.root / "big")
        cls.small = cls.make_small(cls.root / "small")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @staticmethod
    def make_small(log):
        """One segment, three epochs, a batch of three in the last one."""
        cli("create", log, "--segment-size", "1MiB")
        cli("append", log, "--type", "7", "--key", "user:ada", stdin=b"one\ntwo\n\nfour\n")
        cli("append", log, "-z", "--key", "k1", "--key", "schl\u00fcssel", stdin=b"a\nb\0\0")
        cli("append", log, "--jsonl", stdin=jsonl(
            {"data": "before"},
            {"batch": [{"data": "x" * 40, "keys": ["b"]}, {"data": "y"}, {"type": 9}], "event_id": "1" * 32},
            {"data": "after", "event_id": "2" * 32}))
        return log

    @staticmethod
    def make_big(log):
        """Several segments and epochs, and every sort of payload and key."""
        dice = random.Random(seed)
        cli("create", log, "--segment-size", "1MiB")
        cli("append", log, "--key", "user:ada", stdin=b"".join(b"line %d\n" % i for i in range(300)))
        binary = [dice.randbytes(size) for size in (0, 1, 31, 32, 33, 255, 256, 257, 5000)]
        cli("append", log, "--length-prefix", "--type", "4294967295",
            stdin=b"".join(struct.pack("<I", len(data)) + data for data in binary))
        texts = ["", "plain", "\u00e4\u20ac\U0001f389", "\"\\/\b\f\n\r\t\x00\x01\x1f\x7f\x80", "\ufeff\u2028"]
        keys = ["k", {"base64": base64.b64encode(b"\xff\xfe key").decode()}, "\u00e4" * 20, "x" * 65535]
        cli("append", log, "--jsonl", stdin=jsonl(
            *({"data": text, "type": i, "keys": keys[:i]} for i, text in enumerate(texts)),
            {"keys": [f"key {i}" for i in range(255)]},
            as_base64(b"\xed\xa0\x80"), as_base64(b"\xc0\x80"), as_base64(b"\xf4\x90\x80\x80"), as_base64(b"ascii")))
        cli("append", log, "--jsonl", stdin=jsonl(
            *({"batch": [{"data": f"{i} {j}", "type": j, "keys": [f"batch:{i}"]} for j in range(i)],
               **({"event_id": f"{i:032x}"} if i % 2 else {})} for i in range(1, 20)),
            *({"data": "i" * size, "event_id": f"{size:032x}"} for size in (50, 1000)),
            {"batch": [as_base64(dice.randbytes(150_000)) for _ in range(4)]},
            {"batch": [as_base64(dice.randbytes(size)) for size in (200_000, 0, 150_000)]},
            as_base64(dice.randbytes(SEGMENT - 4096 - 32)),  # fills a segment: no padding behind
            {"data": "z" * 300_000}))
        cli("append", log, stdin=b"the last\n")
        return log

    def copy_of(self, log):
        Logs.count += 1
        copy = self.root / f"copy-{Logs.count}"
        shutil.copytree(log, copy, ignore=shutil.ignore_patterns("wake"))  # a socket
        return copy

    def read_ours(self, log):
        second = reader.Log(log)
        records = [reader.as_json(record) for record in second.records()]
        return records, second.verdict()

    def compare(self, log, expect, records_too=True):
        """Both readers about one log. Returns verdict and records."""
        records, verdict = self.read_ours(log)
        theirs = cli("verify", log, "--json", expect=(0, 4, 6))
        their_verdict = json.loads(theirs.stdout)
        their_verdict.pop("detail", None)
        self.assertEqual(verdict, their_verdict)
        self.assertEqual(theirs.returncode, EXIT[verdict["verdict"]])
        self.assertEqual(verdict["verdict"], expect, verdict)
        if records_too:
            self.compare_records(records, self.read_theirs(log))
        return verdict, records

    @staticmethod
    def read_theirs(log):
        return cli("read", log, "--json", "--ids", expect=(0, 4)).stdout.decode().split("\n")[:-1]

    def compare_records(self, ours, theirs):
        for our, their in zip(ours, theirs):
            if our != their:  # not assertEqual: megabytes
                our, their = json.loads(our), json.loads(their)
                differing = {name: f"{our[name]!r:.100} {their.get(name)!r:.100}" for name in our
                             if our[name] != their.get(name)}
                self.fail(f"records differ (reader.py, engine): {differing or 'order or escapes'}")
        self.assertEqual(len(ours), len(theirs), "number of records")
