"""tailrace keys LOG get, list, history, and read --key along a key's chain."""

import json
import unittest

from cli import CliTest, patch


class Keys(CliTest):
    def setUp(self):
        super().setUp()
        self.create(None, "--segment-size", "1MiB")

    def add(self, *records):
        self.append(b"".join(json.dumps(record).encode() + b"\n" for record in records), "--jsonl")

    def keys(self, *args, code=0):
        return self.run_cli("keys", self.log, *args, code=code)

    def test_get(self):
        self.add({"keys": ["ada"]}, {"keys": ["bob"]}, {"keys": ["ada"]}, {"release": ["bob"]})
        position = self.run_cli("read", self.log, "--from", "3", "-n", "1", "--json").json[0]["position"]
        self.assertEqual(self.keys("get", "ada", "--json").json,
                         [{"key": "ada", "version": 2, "released": False, "sequence": 3, "position": position}])
        self.assertEqual(self.keys("get", "ada").out.decode(), f"2\texists\t3\t{position}\tada\n")
        self.assertTrue(self.keys("get", "bob").out.startswith(b"2\treleased\t4\t"))
        self.assertEqual(self.keys("get", "ada", "--durable").out, self.keys("get", "ada").out)

    def test_a_key_that_was_never_written_is_not_found(self):
        for action in ("get", "history"):
            done = self.keys(action, "never", code=3)
            self.assertEqual(done.out, b"")
            self.assertIn("no record carries this key", done.err)
        self.assertEqual(self.keys("list").out, b"")

    def test_a_log_that_is_not_there(self):
        for args in (("get", "k"), ("list",), ("history", "k")):
            self.run_cli("keys", self.folder / "nowhere", *args, code=3)

    def test_usage(self):
        for args in ((), ("get",), ("list", "k"), ("frobnicate",), ("history", "k", "--json", "--raw"),
                     ("get", ""), ("history", "k", "--since", "x")):
            self.keys(*args, code=2)

    def test_list(self):
        self.add({"keys": ["user:ada", "user:bob"]}, {"keys": ["team:x"]}, {"release": ["user:bob"]},
                     {"keys": [{"base64": "/wE="}]})
        listed = {json.dumps(one["key"]): one for one in self.keys("list", "--json").json}
        self.assertEqual(sorted(listed), ['"team:x"', '"user:ada"', '"user:bob"', '{"base64": "/wE="}'])
        self.assertEqual((listed['"user:bob"']["version"], listed['"user:bob"']["released"]), (2, True))
        users = self.keys("list", "--prefix", "user:").lines
        self.assertEqual(sorted(line.split("\t")[4] for line in users), ["user:ada", "user:bob"])
        self.assertEqual(self.keys("list", "--prefix", "x").out, b"")

    def test_history(self):
        self.add(*({"data": str(i), "keys": ["even" if i % 2 == 0 else "odd"]} for i in range(1, 9)))
        self.assertEqual(self.keys("history", "even").out, b"2\n4\n6\n8\n")
        self.assertEqual(self.keys("history", "even", "--backward", "-n", "2").out, b"8\n6\n")
        self.assertEqual(self.keys("history", "even", "--since", "4", "--format", r"%s,%k;").out, b"6,even;8,even;")
        self.assertEqual(self.keys("history", "even", "-n", "0").out, b"")
        self.assertEqual(self.keys("history", "odd", "--json", "-n", "1").json,
                         self.run_cli("read", self.log, "--json", "-n", "1").json)

    def test_what_a_trim_removed(self):
        big = "x" * 300_000
        self.add({"data": "1", "keys": ["k", "old"]}, *({"data": big} for _ in range(7)), {"data": "2", "keys": ["k"]})
        self.run_cli("trim", self.log, "--before", "1MiB", "--yes")
        self.assertEqual(self.keys("get", "old", "--json").json,
                         [{"key": "old", "version": 1, "released": False, "sequence": 1, "position": None}])
        self.assertTrue(self.keys("get", "old").out.startswith(b"1\texists\t1\t-\told"))
        done = self.run_raw("keys", self.log, "history", "k")
        self.assertEqual((done.code, done.out), (0, b"2\n"))
        self.assertIn("older records with this key are not retained", done.err)
        self.assertEqual(self.run_cli("read", self.log, "--key", "k").out, b"2\n")
        # Without what is known of them.
        (self.log / "keys/base").unlink()
        (self.log / "keys/checkpoint").unlink(missing_ok=True)
        self.keys("get", "old", code=1)
        self.assertTrue(self.keys("get", "k").out.startswith(b"2\t"))
        done = self.keys("list", code=1)
        self.assertEqual([line.split("\t")[4] for line in done.lines], ["k"])


class ReadAlongTheChain(CliTest):
    """A log that a checkpoint covers in part: `read --key` must say what it says without one."""

    def setUp(self):
        super().setUp()
        self.create(None, "--segment-size", "1MiB")
        writer = self.start("append", self.log, "--jsonl")
        for i in range(230):
            record = {"data": f"{i} " + "f" * 20_000, "type": i % 3, "keys": [f"key{i % 7}", "all"]}
            writer.stdin.write(json.dumps(record).encode() + b"\n")
        self.wait_until("a checkpoint", (self.log / "keys/checkpoint").exists)
        writer.stdin.close()
        self.expect_exit(writer, 0)

    def scan(self, *args):
        """What it says without the checkpoint."""
        (self.log / "keys").rename(self.folder / "away")
        try:
            return self.read(*args).out
        finally:
            (self.folder / "away").rename(self.log / "keys")

    def test_the_same_answer(self):
        for args in ((), ("--from", 20), ("--to", 20), ("-n", 3), ("--type", 1), ("--from", 30, "-n", 2), ("--json",),
                     ("--from", -30), ("--from", "end"), ("--format", r"%s %t\n"), ("--raw",), ("--durable",),
                     ("--to", "@2000-01-01T00:00:00Z"), ("--from", "@2000-01-01T00:00:00Z"), ("-n", 0)):
            for key in ("key3", "never"):
                with self.subTest(args=args, key=key):
                    self.assertEqual(self.read("--key", key, *args).out, self.scan("--key", key, *args))

    def test_damage_elsewhere_is_passed_over(self):
        expected = self.scan("--key", "key3")
        patch(self.log / "segments/00000000000000000000.seg", 30_000, b"damage")  # in the second record
        self.assertEqual(self.read("--key", "key3").out, expected)
        self.assertEqual(self.keys_out("key3"), expected)
        self.assertIn("damaged", self.read("--key", "key3", "--key", "key4", code=4).err)
        self.assertIn("checksum", self.read("--key", "key1", code=4).err)  # the damaged one

    def keys_out(self, key):
        return self.run_cli("keys", self.log, "history", key).out

    def test_follow_goes_on_with_what_comes(self):
        old = self.scan("--key", "key3", "--format", r"%s\n").decode().splitlines()
        reading = self.start("read", self.log, "--key", "key3", "--follow", "--format", r"%s\n")
        for expected in old:
            self.assertEqual(self.next_line(reading).decode(), expected)
        self.append(b"x\n", "--key", "other")
        self.append(b"x\n", "--key", "key3")
        self.assertEqual(self.next_line(reading).decode(), str(self.info()["last_sequence"]))
        self.interrupt(reading)


if __name__ == "__main__":
    unittest.main(verbosity=2)
