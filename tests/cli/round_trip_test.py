"""`read --json | append --jsonl` reproduces every payload, type and key byte for byte."""

import os
import random
import subprocess
import unittest

from cli import BIN, CliTest

SEED = int(os.environ.get("TAILRACE_SEED", random.SystemRandom().randrange(1 << 32)))
MIB = 1 << 20

STRANGE = ["", "\0", "\0\0a", "\n", "\r\n", '"', '"""', "\\", '\\"', "\\u0041", "\u2028\u2029", "\x7f\x1f\x01", "ü€😀", "\ufeff",
           "\ufffe\uffff", "\U0010ffff", "</script>", "a" * 16, "a" * 17, "ü" * 8, "ü" * 9]
NOT_UTF8 = [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"abc\x80", b"a" * 40 + b"\xfe"]


class RoundTrip(CliTest):
    def setUp(self):
        super().setUp()
        self.random = random.Random(SEED)
        self.copy = self.folder / "copy"
        self.create()
        self.create(self.copy)

    def run(self, result=None):
        print(f"TAILRACE_SEED={SEED}", flush=True)
        return super().run(result)

    def copy_all(self):
        done = subprocess.run(f'"{BIN}" read "{self.log}" --json | "{BIN}" append "{self.copy}" --jsonl', shell=True,
                              capture_output=True, timeout=300)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"", b""))

    def write(self, payloads):
        stdin = b"".join(len(each).to_bytes(4, "little") + each for each in payloads)
        self.append(stdin, "--length-prefix")

    def everything(self, log):
        """What must be equal: per record size, type, keys and payload, as bytes."""
        form = r"%t\0%k\0%p\0"
        return self.run_cli("read", log, "--format", form).out, self.run_cli("read", log, "--raw").out

    def assert_copied(self):
        self.copy_all()
        self.assertEqual(self.everything(self.copy), self.everything(self.log))
        self.assertEqual(self.run_cli("read", self.copy, "--raw").out, self.run_cli("read", self.log, "--raw").out)

    def random_bytes(self):
        kind = self.random.randrange(4)
        size = int(2 ** self.random.uniform(0, 12)) - 1
        if kind == 0:
            return self.random.randbytes(size)
        if kind == 1:
            return "".join(self.random.choices("aü€😀\0\n\"\\\x1f\u2028", k=size)).encode()
        if kind == 2:
            return self.random.choice(STRANGE).encode() * self.random.randrange(3)
        return self.random.choice(NOT_UTF8) + self.random.choice(STRANGE).encode()

    def test_strange_payloads(self):
        payloads = [each.encode() for each in STRANGE] + NOT_UTF8 + [bytes([byte]) for byte in range(256)]
        self.write(payloads)
        self.assert_copied()
        [sizes] = [[record["size"] for record in self.records()]]
        self.assertEqual(sizes, [len(each) for each in payloads])

    def test_strange_keys(self):
        keys = [each.encode() for each in STRANGE if each and not each.startswith("\0")] + NOT_UTF8
        keys += [bytes([byte]) for byte in range(1, 256)]
        for start in range(0, len(keys), 100):
            few = list(dict.fromkeys(keys[start:start + 100]))
            flags = [flag for key in few if b"\0" not in key for flag in (b"--key", key)]
            subprocess.run([BIN, "append", self.log, *flags], input=b"payload", check=True)
        self.append_jsonl({"keys": ["a\0b", "\x01\0", "\n", "\u2028", '"', "k" * 65535]})
        self.assert_copied()

    def test_random_records(self):
        lines = []
        for _ in range(300):
            keys = {self.random_bytes()[:1000] for _ in range(self.random.randrange(6))}
            keys = [key for key in keys if key and not key.startswith(b"\0")]
            payload = self.random_bytes()
            lines.append(self.json_record(payload, self.random.getrandbits(32), keys))
        self.append(b"\n".join(lines), "--jsonl")
        self.assert_copied()
        first, second = self.records(), self.run_cli("read", self.copy, "--json").json
        for field in ["type", "keys", "size", "encoding", "data"]:
            self.assertEqual([record[field] for record in first], [record[field] for record in second])

    @staticmethod
    def json_record(payload, number, keys):
        import base64
        import json
        encode = lambda raw: base64.b64encode(raw).decode()
        return json.dumps({"data": encode(payload), "encoding": "base64", "type": number,
                           "keys": [{"base64": encode(key)} for key in keys]}).encode()

    def test_large_payloads(self):
        text = "".join(self.random.choices("abcdefgh\n\"\\ü€\0", k=4096)).encode()
        self.write([b"\0" * (9 * MIB), self.random.randbytes(MIB) * 50, text * (20 * MIB // len(text)), b"", b"end"])
        self.assert_copied()

    def test_the_largest_payload_of_nuls(self):
        self.write([b"\0" * (60 * MIB)])  # 360 MB of JSON
        self.assert_copied()

    def test_timestamps_too_with_keep_time(self):
        self.append(b"a\nb\nc")
        done = self.read("--json").out
        self.run_cli("append", self.copy, "--jsonl", "--keep-time", stdin=done)
        times = lambda log: [record["timestamp_ns"] for record in self.run_cli("read", log, "--json").json]
        self.assertEqual(times(self.copy), times(self.log))

    def test_utf8_is_shown_as_text_and_all_else_as_base64(self):
        self.write(["ü\u2028\0".encode(), b"\xff\0", b""])
        self.assertEqual([(record["encoding"], record["data"], record["size"]) for record in self.records()],
                         [("utf8", "ü\u2028\0", 6), ("base64", "/wA=", 2), ("utf8", "", 0)])

    def test_raw_and_length_prefix_are_exact(self):
        payload = bytes(range(256)) * 5000
        self.write([payload, b"", payload])
        self.assertEqual(self.read("--raw").out, payload * 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
