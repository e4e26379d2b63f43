"""`tailrace read`: where it starts and ends, what it shows and how."""

import json
import os
import select
import signal
import subprocess
import time
import unittest

from cli import BIN, CliTest


class Places(CliTest):
    def setUp(self):
        super().setUp()
        self.create()
        self.append(b"1\n2\n3\n4\n5")

    def shown(self, *flags, code=0):
        return self.read(*flags, code=code).out.decode().split()

    def test_from_start_is_the_default(self):
        self.assertEqual(self.shown(), ["1", "2", "3", "4", "5"])
        self.assertEqual(self.shown("--from", "start"), self.shown())

    def test_from_end(self):
        self.assertEqual(self.shown("--from", "end"), [])

    def test_from_sequence(self):
        self.assertEqual(self.shown("--from", "4"), ["4", "5"])
        self.assertEqual(self.shown("--from", "1"), self.shown())

    def test_the_next_sequence_shows_nothing_and_the_one_after_it_is_not_found(self):
        self.assertEqual(self.shown("--from", "6"), [])
        self.assertIn("the last is 5", self.read("--from", "7", code=3).err)

    def test_from_the_last_n(self):
        for count, lines in [("-2", ["4", "5"]), ("-0", []), ("-5", self.shown()), ("-500", self.shown())]:
            self.assertEqual(self.shown("--from", count), lines)

    def test_an_empty_log_from_anywhere(self):
        self.create("empty")
        for place in ["start", "end", "1", "-3", "@2000-01-01T00:00:00Z"]:
            self.assertEqual(self.run_cli("read", "empty", "--from", place).out, b"", place)
        self.assertIn("no records yet", self.run_cli("read", "empty", "--from", "2", code=3).err)

    def test_from_and_to_a_time(self):
        time.sleep(0.01)
        between = time.time_ns()
        time.sleep(0.01)
        self.append(b"6\n7")
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(between // 10**9)) + ".%09d" % (between % 10**9)
        for text in [f"@{between}", f"@{stamp}Z", f"@{stamp}+00:00", f"@{stamp.replace('T', ' ')}z"]:
            self.assertEqual(self.shown("--from", text), ["6", "7"], text)
            self.assertEqual(self.shown("--to", text), ["1", "2", "3", "4", "5"], text)
        self.assertEqual(self.shown("--from", "@2001-01-01T00:00:00+14:00"), self.shown())
        self.assertEqual(self.shown("--from", "@2200-12-31T23:59:60Z"), [])
        exact = self.records()[3]["timestamp_ns"]
        self.assertIn("4", self.shown("--from", "@" + exact))
        self.assertIn("4", self.shown("--to", "@" + exact))

    def test_to_is_inclusive(self):
        self.assertEqual(self.shown("--to", "2"), ["1", "2"])
        self.assertEqual(self.shown("--to", "500"), self.shown())
        self.assertEqual(self.shown("--from", "3", "--to", "3"), ["3"])
        self.assertEqual(self.shown("--from", "4", "--to", "2"), [])

    def test_n(self):
        self.assertEqual(self.shown("-n", "2"), ["1", "2"])
        self.assertEqual(self.shown("-n", "0"), [])
        self.assertEqual(self.shown("-n", "99"), self.shown())

    def test_places_that_are_none_are_usage_errors(self):
        for bad in ["", "0", "x", "+1", "1.5", "--1", "@", "@x", "@2001-02-30T00:00:00Z", "@2001-01-01", "@2001-01-01T24:00:00Z",
                    "@2001-01-01T00:00:00", "@2001-01-01T00:00:00Zx", "@9999-01-01T00:00:00Z", "18446744073709551616"]:
            self.read("--from", bad, code=2)
        for bad in ["", "0", "start", "-1", "@x"]:
            self.read("--to", bad, code=2)
        for bad in ["", "-1", "x", "1x"]:
            self.read("-n", bad, code=2)


class Shapes(CliTest):
    def setUp(self):
        super().setUp()
        self.create()
        self.append_jsonl({"data": "a", "type": 1, "keys": ["user:ada", "x"]}, {"data": "b", "type": 2, "keys": ["user:bob"]},
                          {"data": "", "type": 3}, {"data": "d\n", "type": 1, "keys": ["team:x", "user"]})

    def test_default_is_payload_and_newline(self):
        self.assertEqual(self.read().out, b"a\nb\n\nd\n\n")

    def test_raw_has_nothing_between(self):
        self.assertEqual(self.read("--raw").out, b"abd\n")

    def test_format(self):
        self.assertEqual(self.read("--format", r"%s %t %k %p%%\t\0\\\n", "-n", "2").out,
                         b"1 1 user:ada,x a%\t\0\\\n2 2 user:bob b%\t\0\\\n")
        self.assertEqual(self.read("--format", "%T,", "-n", "1").out.decode(), self.records()[0]["timestamp_ns"] + ",")
        self.assertEqual(self.read("--format", "").out, b"")

    def test_a_wrong_format_is_a_usage_error(self):
        for bad in ["%", "%x", "\\", "\\x"]:
            self.read("--format", bad, code=2)

    def test_json_has_exactly_these_fields(self):
        line = self.read("--json", "-n", "1").out.decode()
        self.assertRegex(line, r'^\{"sequence":1,"epoch":1,"position":"\d+","timestamp_ns":"\d{19}","type":1,'
                               r'"keys":\["user:ada","x"\],"size":1,"encoding":"utf8","data":"a"\}\n$')

    def test_styles_exclude_each_other(self):
        for flags in [("--json", "--raw"), ("--json", "--format", "x"), ("--raw", "--format", "x")]:
            self.read(*flags, code=2)

    def test_key_and_prefix_and_type(self):
        shown = lambda *flags: [record["sequence"] for record in self.records(*flags)]
        self.assertEqual(shown("--key", "user:ada"), [1])
        self.assertEqual(shown("--key", "user"), [4])
        self.assertEqual(shown("--key", "user:ada", "--key", "team:x"), [1, 4])
        self.assertEqual(shown("--key-prefix", "user:"), [1, 2])
        self.assertEqual(shown("--key-prefix", "user:b", "--key-prefix", "x", "--key", "nobody"), [1, 2])
        self.assertEqual(shown("--key-prefix", ""), [1, 2, 4])
        self.assertEqual(shown("--type", "1"), [1, 4])
        self.assertEqual(shown("--type", "2", "--type", "3"), [2, 3])
        self.assertEqual(shown("--type", "1", "--key-prefix", "user:"), [1])
        self.assertEqual(shown("--key", "nobody"), [])

    def test_n_counts_what_is_shown(self):
        self.assertEqual(self.read("--type", "1", "-n", "2", "--format", "%s,").out, b"1,4,")

    def test_speed_keeps_the_time_between_records(self):
        self.create("timed")
        lines = [b"a", b"b", b"c"]
        process = self.start("append", "timed", "--acks")
        for line in lines:
            process.stdin.write(line + b"\n")
            self.next_line(process)
            time.sleep(0.3)
        for speed, least, most in [("1x", 0.55, 5), ("0.5x", 1.1, 8), ("100", 0, 1.5)]:
            start = time.monotonic()
            self.assertEqual(self.run_cli("read", "timed", "--speed", speed).lines, ["a", "b", "c"])
            took = time.monotonic() - start
            self.assertTrue(least <= took <= most, f"{speed}: {took}")
        for bad in ["", "0", "-1", "x", "nan", "inf", "1xx"]:
            self.run_cli("read", "timed", "--speed", bad, code=2)


class Follow(CliTest):
    def setUp(self):
        super().setUp()
        self.create()

    def test_records_come_as_they_are_appended_and_it_ends_by_interrupt(self):
        for stop in [signal.SIGINT, signal.SIGTERM]:
            reader = self.start("read", self.log, "--follow", "--from", "end")
            while not select.select([reader.stdout], [], [], 0.1)[0]:
                self.append(b"is it there yet?")
            for number in range(5):
                self.append(b"%d" % number)
                line = b"is it there yet?"
                while line == b"is it there yet?":
                    line = self.next_line(reader)
                self.assertEqual(line, b"%d" % number)
            reader.send_signal(stop)
            self.expect_exit(reader, 130)

    def test_a_reader_goes_on_over_writers_that_come_and_go(self):
        reader = self.start("read", self.log, "--follow")
        for number in range(3):
            writer = self.start("append", self.log, "--acks")
            writer.stdin.write(b"%d\n" % number)
            self.next_line(writer)
            self.assertEqual(self.next_line(reader), b"%d" % number)
            writer.kill()
            writer.wait()
        self.interrupt(reader)

    def test_follow_durable(self):
        reader = self.start("read", self.log, "--follow", "--durable")
        self.append(b"a\n", "--durable")
        self.assertEqual(self.next_line(reader), b"a")
        self.interrupt(reader)

    def test_follow_ends_with_n_and_to(self):
        for flags in [("-n", "2"), ("--to", "2")]:
            reader = self.start("read", self.log, "--follow", *flags)
            if self.info()["last_sequence"] == 0:
                self.append(b"a\nb\nc")
            self.expect_exit(reader, 0)
            self.assertEqual(reader.stdout.read(), b"a\nb\n")

    def test_follow_waits_for_a_sequence_to_come(self):
        reader = self.start("read", self.log, "--follow", "--from", "3", "-n", "1")
        time.sleep(0.1)
        self.append(b"1\n2\n3\n4")
        self.assertEqual(self.next_line(reader), b"3")
        self.expect_exit(reader, 0)

    def test_a_reader_that_went_ends_the_program_quietly(self):
        self.append(b"x\n" * 500_000)
        for flags in [(), ("--follow",), ("--json", "--follow")]:
            reader = self.start("read", self.log, *flags)
            self.next_line(reader)
            reader.stdout.close()
            self.expect_exit(reader, 0)
            self.assertEqual(reader.stderr.read(), b"")

    def test_a_reader_that_went_is_noticed_at_the_end_of_the_log_too(self):
        self.append(b"x")
        reader = self.start("read", self.log, "--follow")
        self.next_line(reader)
        reader.stdout.close()
        self.expect_exit(reader, 0)

    def test_an_interrupt_while_nobody_takes_the_output(self):
        self.append(b"x\n" * 500_000)
        reader = self.start("read", self.log)
        self.next_line(reader)
        time.sleep(0.2)
        self.interrupt(reader)

    def test_an_interrupt_while_it_sleeps_for_speed(self):
        self.append(b"a")
        time.sleep(0.2)
        self.append(b"b")
        reader = self.start("read", self.log, "--speed", "0.001x")
        self.assertEqual(self.next_line(reader), b"a")
        self.interrupt(reader)

    def test_a_log_that_vanishes_ends_a_follower_with_not_found(self):
        self.append(b"x")
        reader = self.start("read", self.log, "--follow")
        self.next_line(reader)
        self.log.rename(self.folder / "moved")
        (self.folder / "moved").joinpath("log.meta").unlink()
        subprocess.run(["rm", "-r", self.folder / "moved"], check=True)
        self.expect_exit(reader, 3)
        self.assertIn(b"removed", reader.stderr.read())

    def test_output_that_fails_is_an_error(self):
        self.append(b"x")
        with open("/dev/full", "wb") as full:
            for command in [("read", self.log), ("info", self.log), ("verify", self.log), ("--help",)]:
                done = subprocess.run([BIN, *command], stdout=full, stderr=subprocess.PIPE)
                self.assertEqual(done.returncode, 1, command)
                self.assertIn(b"stdout: No space left on device", done.stderr)


class WithoutFollow(CliTest):
    def test_it_ends_at_the_end_as_of_now_under_a_live_writer(self):
        self.create()
        lines = "while :; do seq 2000; sleep 0.01; done"
        writer = subprocess.Popen(f'({lines}) | "{BIN}" append "{self.log}"', shell=True, start_new_session=True)
        self.addCleanup(writer.wait)
        self.addCleanup(os.killpg, writer.pid, signal.SIGKILL)
        self.wait_until("records", lambda: self.info()["last_sequence"] > 1000)
        for _ in range(3):
            done = self.read("--from", "-100", "--json")
            self.assertGreaterEqual(len(done.json), 100)
            json.loads(done.out.splitlines()[-1])

    def test_durable_shows_what_is_durable(self):
        self.create()
        self.append(b"a\nb")
        self.assertEqual(self.read("--durable").lines, ["a", "b"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
