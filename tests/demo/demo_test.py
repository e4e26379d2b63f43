# labels: slow
"""The demo as its users run it: it agrees, it can disagree, and it leaves nothing behind."""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

BUILD = pathlib.Path(os.environ.get("TAILRACE_BUILD_DIR", "build"))
DEMO = BUILD / "bin" / "tailrace-demo"
INPUT = pathlib.Path(__file__).resolve().parent.parent / "data" / "flights.jsonl"
EVENTS = 40_000


class Demo(unittest.TestCase):
    def setUp(self):
        self.room = tempfile.TemporaryDirectory(prefix="tailrace-demo-test-")
        self.addCleanup(self.room.cleanup)
        self.directory = pathlib.Path(self.room.name)

    def arguments(self, *more):
        return [DEMO, "--events", str(EVENTS), "--seconds", "2", "--dir", self.directory, "--input", INPUT, *more]

    def run_demo(self, *more, **options):
        return subprocess.run(self.arguments(*more), capture_output=True, text=True, timeout=120, **options)

    def left_over(self):
        return list(self.directory.glob("tailrace-demo-*"))

    def variant(self, change):
        """The input with one line changed."""
        lines = INPUT.read_text().splitlines(keepends=True)
        lines[1234] = change(lines[1234])
        path = self.directory / "variant.jsonl"
        path.write_text("".join(lines))
        return path

    def test_all_digests_agree_and_nothing_is_left(self):
        done = self.run_demo()
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("all three agree with the input", done.stdout)
        self.assertIn("Everything agrees.", done.stdout)
        self.assertIn("killing reader delays (SIGKILL)", done.stdout)
        self.assertIn("killing the writer (SIGKILL)", done.stdout)
        self.assertNotIn("\x1b", done.stdout, "no terminal, no escape sequences")
        self.assertEqual(self.left_over(), [])

    def test_one_changed_delay_is_noticed(self):
        other = self.variant(lambda line: line.replace('"delay":', '"delay":1', 1).replace(":1-", ":-1"))
        done = self.run_demo("--expect-input", other)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn("digests    DISAGREE", done.stdout)
        self.assertIn("delays     DISAGREE", done.stdout)
        self.assertNotIn("Everything agrees", done.stdout)
        self.assertEqual(len(self.left_over()), 1, "a log that disagrees is kept")

    def test_one_changed_byte_that_no_delay_sees_is_noticed(self):
        other = self.variant(lambda line: line.replace("2001/", "2002/", 1))
        done = self.run_demo("--expect-input", other)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn("digests    DISAGREE", done.stdout)
        self.assertNotIn("delays     DISAGREE", done.stdout)

    def test_a_terminal_gets_a_live_view(self):
        import pty

        pid, terminal = pty.fork()
        if pid == 0:
            environment = {**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8"}
            os.execve(DEMO, [os.fspath(part) for part in self.arguments()], environment)
        seen = b""
        while True:
            try:
                piece = os.read(terminal, 65536)
            except OSError:
                break
            if not piece:
                break
            seen += piece
        os.close(terminal)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0, seen.decode(errors="replace"))
        self.assertGreater(seen.count(b"\x1b[J"), 10, "frames")
        self.assertTrue(b"\x1b[?25l" in seen and seen.rfind(b"\x1b[?25h") > seen.rfind(b"\x1b[?25l"), "cursor is back")

    def test_ctrl_c_cleans_up(self):
        with subprocess.Popen(self.arguments(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as demo:
            children = self.wait_for_children(demo.pid)
            demo.send_signal(signal.SIGINT)
            said = demo.communicate(timeout=30)[1]
        self.assertEqual(demo.returncode, 130, said)
        self.assertEqual(self.left_over(), [])
        self.assert_all_gone(children)

    def test_children_die_with_their_parent(self):
        with subprocess.Popen(self.arguments(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as demo:
            children = self.wait_for_children(demo.pid)
            demo.kill()
        self.assert_all_gone(children)

    def test_mistakes_are_said_and_leave_nothing(self):
        broken = self.variant(lambda line: "{}\n")
        for arguments, code, text in [
            (["--input", "/no/such/file"], 1, "/no/such/file"),
            (["--input", broken], 1, "line 1235 is no flight"),
            (["--dir", "/no/such/directory"], 1, "--dir"),
            (["--events", "many"], 2, "--events"),
            (["--colour"], 2, "--colour"),
            (["--role", "writer"], 2, "--role"),
        ]:
            with self.subTest(arguments=arguments):
                done = self.run_demo(*arguments)
                self.assertEqual(done.returncode, code, done.stdout + done.stderr)
                self.assertIn(text, done.stderr)
                self.assertEqual(self.left_over(), [])

    def wait_for_children(self, pid):
        """The ids of its four children, once all are there."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
            if len(text.split()) == 4:
                return [int(word) for word in text.split()]
            time.sleep(0.01)
        self.fail("the demo did not start four processes")

    def assert_all_gone(self, pids):
        deadline = time.monotonic() + 20
        while any(running(pid) for pid in pids):
            self.assertLess(time.monotonic(), deadline, "children outlive the demo")
            time.sleep(0.01)


def running(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


if __name__ == "__main__":
    if not DEMO.exists():
        print(f"{DEMO} is not built")
        sys.exit(77)
    unittest.main(verbosity=2)
