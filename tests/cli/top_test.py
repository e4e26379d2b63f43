"""`tailrace top`: lines where there is no terminal, a table where there is one."""

import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
import time
import unittest

from cli import BIN, PATIENCE_S, CliTest


class Terminal:
    """A program in a terminal, and what it has drawn: `text` is the screen without its escapes, as it was last."""

    def __init__(self, test, *args, columns=80, rows=24, **environment):
        self.test = test
        self.master, slave = pty.openpty()
        self.resize(columns, rows)
        self.process = subprocess.Popen([BIN, *map(str, args)], stdin=subprocess.DEVNULL, stdout=slave,
                                        stderr=subprocess.PIPE, env={**os.environ, "TERM": "xterm", **environment})
        os.close(slave)
        self.raw = b""
        test.addCleanup(self.end)

    def resize(self, columns, rows):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()
        os.close(self.master)

    def take(self, seconds):
        try:
            if select.select([self.master], [], [], seconds)[0]:
                self.raw += os.read(self.master, 65536)
        except OSError:  # EIO: the program has gone
            time.sleep(seconds)

    @property
    def lines(self):
        """The last whole screen."""
        frames = self.raw.split(b"\x1b[H")
        whole = [frame for frame in frames[1:] if b"\x1b[J" in frame]
        if not whole:
            return []
        text = re.sub(rb"\x1b\[[?\d;]*[a-zA-Z]", b"", whole[-1].split(b"\x1b[J")[0]).decode()
        return text.replace("\r", "").split("\n")

    def wait_for(self, what):
        until = time.monotonic() + PATIENCE_S
        while not what(self.lines):
            self.test.assertLess(time.monotonic(), until, f"never seen: {self.lines}")
            self.take(0.05)
        return self.lines


def row(lines, name):
    return next((line for line in lines if line.startswith(name)), "")


class Top(CliTest):
    def writer(self):
        """A writer that stays; returns it when it has written one record."""
        process = self.start("append", self.log, "--acks")
        process.stdin.write(b"first\n")
        self.next_line(process)
        return process

    def consumers(self, *names):
        for name in names:
            self.run_cli("consumers", self.log, "create", name)

    def one(self, *flags):
        return self.run_cli("top", self.log, "--count", 1, "--json", *flags).json[0]

    def test_json_has_exactly_these_fields(self):
        self.create()
        self.append(b"a\nb\n")
        self.consumers("store")
        look = self.one()
        self.assertEqual(list(look), ["time_ns", "writer", "epoch", "committed_sequence", "durable_sequence",
                                      "durable_lag_ns", "records_per_s", "bytes_per_s", "commits_per_s", "commit_p50_ns",
                                      "commit_p99_ns", "commit_p999_ns", "consumers", "clients"])
        self.assertEqual((look["committed_sequence"], look["durable_sequence"], look["records_per_s"]), (2, 2, None))
        self.assertEqual(look["writer"], {"state": "none", "pid": None, "heartbeat_age_ns": 0})
        [consumer] = look["consumers"]
        self.assertEqual((consumer["name"], consumer["lag_records"]), ("store", 2))
        self.assertGreater(consumer["lag_bytes"], 0)
        self.assertNotIn("writer", consumer)
        self.assertEqual(look["clients"], [])

    def test_without_a_terminal_there_are_lines_and_rates(self):
        self.create()
        self.consumers("store")
        writer = self.writer()
        top = self.start("top", self.log, "--interval", "50ms")
        first = self.next_line(top).decode()
        self.assertRegex(first, r"^\d{4}-\d\d-\d\dT\S+Z writer=running heartbeat_age_ms=\d+ committed=1 ")
        self.assertNotIn("records_per_s", first)
        self.assertRegex(self.next_line(top).decode(), r"^  consumer=store owner=none lag_records=\d+ lag_bytes=\d+ lag_ns=")
        writer.stdin.write(b"x\n" * 1000)
        self.wait_until("a rate", lambda: re.search(rb" committed=1001 .*records_per_s=", self.next_line(top)))
        self.interrupt(top)

    def test_ends_after_count_and_when_nobody_reads(self):
        self.create()
        done = self.run_cli("top", self.log, "--count", 3, "--interval", "10ms")
        self.assertEqual([line.split()[1] for line in done.lines], ["writer=none"] * 3)
        top = self.start("top", self.log, "--interval", "10ms")
        self.next_line(top)
        top.stdout.close()
        self.expect_exit(top, 0)

    def test_a_writer_that_stands_still_is_no_good_news(self):
        self.create()
        self.consumers("store")
        writer = self.writer()
        self.run_cli("read", self.log, "--durable", "--from", 1)
        terminal = Terminal(self, "top", self.log, "--interval", "50ms")
        terminal.wait_for(lambda lines: "running" in row(lines, "writer") and "heartbeat" in row(lines, "writer"))
        writer.send_signal(signal.SIGSTOP)
        terminal.wait_for(lambda lines: "STALLED for " in row(lines, "writer") and "?" in row(lines, "store"))
        look = self.one()
        self.assertEqual(look["writer"]["state"], "stalled")
        self.assertGreater(look["writer"]["heartbeat_age_ns"], 1_000_000_000)
        self.assertIn("writer=stalled", self.run_cli("top", self.log, "--count", 1).out.decode())
        writer.send_signal(signal.SIGCONT)
        terminal.wait_for(lambda lines: "running" in row(lines, "writer"))
        writer.kill()
        writer.wait()
        terminal.wait_for(lambda lines: f"CRASHED, pid {writer.pid}" in row(lines, "writer"))
        self.append(b"more\n")
        terminal.wait_for(lambda lines: "none" in row(lines, "writer"))

    def test_a_log_that_is_removed_ends_it_and_gives_the_screen_back(self):
        self.create()
        terminal = Terminal(self, "top", self.log, "--interval", "20ms")
        terminal.wait_for(lambda lines: row(lines, "writer"))
        lines = self.start("top", self.log, "--interval", "20ms")
        self.next_line(lines)
        shutil.rmtree(self.log)
        self.assertEqual(terminal.process.wait(PATIENCE_S), 3)
        self.expect_exit(lines, 3)
        self.assertIn(b"tailrace: top: ", lines.stderr.read())
        self.assertIn(b"tailrace: top: ", terminal.process.stderr.read())
        for _ in range(10):
            terminal.take(0.01)
        self.assertTrue(terminal.raw.endswith(b"\x1b[?7h\x1b[?25h\x1b[?1049l"), terminal.raw[-40:])

    def test_an_owner_that_dies_is_seen(self):
        self.create()
        self.append(b"a\nb\nc\n")
        self.consumers("store", "index")
        reader = self.start("read", self.log, "--from", "consumer:store", "--follow")
        self.next_line(reader)
        terminal = Terminal(self, "top", self.log, "--interval", "50ms")
        terminal.wait_for(lambda lines: f"live {reader.pid}" in row(lines, "store"))
        reader.kill()
        reader.wait()
        lines = terminal.wait_for(lambda lines: f"DEAD {reader.pid}" in row(lines, "store"))
        names = [line.split()[0] for line in lines if line.startswith(("store", "index"))]
        self.assertEqual(names, ["store", "index"], "what needs a look comes first")

    def test_no_line_is_wider_than_the_terminal_nor_are_there_too_many(self):
        self.create()
        writer = self.writer()
        writer.stdin.write(b"x\n" * 50)
        for _ in range(50):
            self.next_line(writer)
        names = [f"a-consumer-with-quite-a-long-name-{i}" for i in range(12)]
        self.consumers(*names)
        terminal = Terminal(self, "top", self.log, "--interval", "50ms", columns=100, rows=40, LC_ALL="C.UTF-8")
        lines = terminal.wait_for(lambda lines: len([line for line in lines if "▁" in line or "█" in line]) == 12)
        self.assertLessEqual(max(map(len, lines)), 100)
        self.assertIn("TREND", row(lines, "CONSUMER"))
        for columns, rows in ((60, 30), (30, 10), (10, 5), (3, 2), (1, 1), (200, 50)):
            with self.subTest(columns=columns, rows=rows):
                before = len(terminal.raw)
                terminal.resize(columns, rows)
                deadline = time.monotonic() + PATIENCE_S
                # Two frames later everything that is drawn knows of the new size.
                while terminal.raw[before:].count(b"\x1b[J") < 4:
                    self.assertLess(time.monotonic(), deadline)
                    terminal.take(0.05)
                lines = terminal.lines
                self.assertLessEqual(max(map(len, lines)), columns)
                self.assertLessEqual(len(lines), rows)
        self.assertIn("and 9 more lines", Terminal(self, "top", self.log, rows=11).wait_for(bool)[-1])

    def test_a_resize_is_drawn_before_the_next_look(self):
        self.create()
        terminal = Terminal(self, "top", self.log, "--interval", "3600s", columns=80)
        terminal.wait_for(lambda lines: row(lines, "writer"))
        terminal.resize(12, 20)
        terminal.wait_for(lambda lines: row(lines, "writer") and max(map(len, lines)) <= 12)
        terminal.process.send_signal(signal.SIGINT)
        self.assertEqual(terminal.process.wait(PATIENCE_S), 130)

    def test_a_plain_terminal_and_no_colour(self):
        self.create()
        self.append(b"a\n")
        self.consumers("store")
        terminal = Terminal(self, "top", self.log, "--interval", "20ms", LC_ALL="C", NO_COLOR="1")
        terminal.wait_for(lambda lines: row(lines, "store").rstrip().endswith("##"))
        self.assertNotIn(b"\x1b[1m", terminal.raw)
        dumb = Terminal(self, "top", self.log, "--count", "1", TERM="dumb")
        self.assertEqual(dumb.process.wait(PATIENCE_S), 0)
        dumb.take(0.1)
        self.assertNotIn(b"\x1b", dumb.raw)
        self.assertIn(b" writer=none ", dumb.raw)

    def test_bad_usage(self):
        self.run_cli("top", self.log, code=3)
        self.create()
        self.run_cli("top", self.log, "--interval", "soon", code=2)
        self.run_cli("top", self.log, "--count", "-1", code=2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
