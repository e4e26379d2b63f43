"""What the tests of the command line share. TAILRACE_BIN names the program."""

import json
import os
import pathlib
import select
import signal
import subprocess
import tempfile
import time
import unittest

BIN = os.environ["TAILRACE_BIN"]
PATIENCE_S = 60  # for what takes milliseconds, unless the machine is very busy


class Done:
    """A finished run: code, out (bytes), err (text)."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err.decode(errors="replace")

    @property
    def lines(self):
        return self.out.decode().splitlines()

    @property
    def json(self):
        return [json.loads(line) for line in self.out.split(b"\n") if line]


class CliTest(unittest.TestCase):
    """A test in a directory of its own, with a log to work on."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.log = self.folder / "log"

    def run_raw(self, *args, stdin=b"", **options):
        done = subprocess.run([BIN, *map(str, args)], input=stdin, capture_output=True, cwd=self.folder,
                              timeout=PATIENCE_S, **options)
        return Done(done.returncode, done.stdout, done.stderr)

    def run_cli(self, *args, stdin=b"", code=0):
        """Runs, and expects the exit code; a success says nothing on stderr."""
        done = self.run_raw(*args, stdin=stdin)
        self.assertEqual(done.code, code, f"{args}: {done.err}")
        if code == 0:
            self.assertEqual(done.err, "", f"{args}")
        elif code not in (6, 4):
            self.assertTrue(done.err.startswith("tailrace: "), done.err)
        return done

    def create(self, log=None, *flags):
        self.run_cli("create", log or self.log, *flags)

    def append(self, stdin, *flags, code=0):
        return self.run_cli("append", self.log, *flags, stdin=stdin, code=code)

    def append_jsonl(self, *records, flags=()):
        return self.append("".join(json.dumps(record) + "\n" for record in records).encode(), "--jsonl", *flags)

    def read(self, *flags, code=0):
        return self.run_cli("read", self.log, *flags, code=code)

    def payloads(self, *flags):
        """Every payload, exactly: --format with a separator that the tests' payloads do not hold."""
        return self.read("--format", r"%p\0", *flags).out.split(b"\0")[:-1]

    def records(self, *flags):
        return self.read("--json", *flags).json

    def info(self):
        return self.run_cli("info", self.log, "--json").json[0]

    def start(self, *args, **options):
        """A process that goes on; killed when the test ends."""
        process = subprocess.Popen([BIN, *map(str, args)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, cwd=self.folder, bufsize=0, **options)

        def stop():
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                pipe.close()

        self.addCleanup(stop)
        return process

    def next_line(self, process):
        """One line of its stdout, which must come while stdin stays open."""
        line = b""
        while not line.endswith(b"\n"):
            self.assertTrue(select.select([process.stdout], [], [], PATIENCE_S)[0], f"no line came, only {line!r}")
            byte = process.stdout.read(1)
            if not byte:
                self.fail(f"the process ended: {line!r} {process.stderr.read()!r}")
            line += byte
        return line[:-1]

    def expect_exit(self, process, code):
        try:
            self.assertEqual(process.wait(PATIENCE_S), code)
        except subprocess.TimeoutExpired:
            self.fail("the process did not end")

    def interrupt(self, process, code=130):
        process.send_signal(signal.SIGINT)
        self.expect_exit(process, code)

    def wait_until(self, what, true):
        until = time.monotonic() + PATIENCE_S
        while not true():
            self.assertLess(time.monotonic(), until, f"waited in vain: {what}")
            time.sleep(0.01)


def segments(log):
    return sorted((log / "segments").glob("*.seg"))


def patch(path, offset, data):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def tree(path):
    """Name, mode and bytes of everything below a path, to see that nothing was written."""
    return {entry.relative_to(path): (entry.lstat().st_mode, entry.read_bytes() if entry.is_file() else None)
            for entry in sorted(path.rglob("*"))}
