"""Everything that `append` promises, beside a server that holds the log: the user need not know.

The tests are those of the command line itself, run again with `tailrace serve` beside each log.
"""
# labels: slow

import json
import signal
import subprocess
import sys
import unittest

import acks_test
import append_test
import cli
import event_ids_test
import expect_test


def can_serve():
    return subprocess.run([cli.BIN, "serve", "--help"], capture_output=True, check=False).returncode == 0


class Served:
    """A server for every log that a test creates."""

    def create(self, log=None, *flags):
        super().create(log, *flags)
        self.serve(log or self.log)

    def serve(self, log):
        server = self.start("serve", log)
        self.wait_until("the server is there", (log / "serve.sock").exists)
        return server


# What only the writer's own process does.
NOT_SERVED = {
    "Signals": ["test_an_interrupt_keeps_what_was_read_and_ends_cleanly"],  # all durable at its end
    "Lines": ["test_what_was_removed_may_have_matched"],  # a trim
}


def served(module):
    """The test classes of a module, with a server beside each log."""
    for name, its in vars(module).items():
        if not isinstance(its, type) or not issubclass(its, cli.CliTest) or its is cli.CliTest:
            continue
        left_out = {test: None for test in NOT_SERVED.get(name, ())}
        yield f"Served{name}", type(f"Served{name}", (Served, its), left_out)


class WithAServer(Served, cli.CliTest):
    def setUp(self):
        super().setUp()
        self.create(self.log, "--segment-size", "1MiB")

    def test_append_goes_through_it_and_says_nothing_of_it(self):
        self.append(b"one\ntwo\n")
        self.assertEqual(self.payloads(), [b"one", b"two"])
        answers = self.append(b"three\n", "--acks", "--durable").json
        self.assertEqual(answers[0]["sequence"], 3)
        self.assertTrue(answers[0]["durable"])

    def test_two_appends_at_a_time(self):
        both = [self.start("append", self.log, "--acks") for _ in range(2)]
        for i in range(20):
            for process in both:
                process.stdin.write(b"x\n")
            sequences = {json.loads(self.next_line(process))["sequence"] for process in both}
            self.assertEqual(sequences, {2 * i + 1, 2 * i + 2})
        for process in both:
            process.stdin.close()
            self.expect_exit(process, 0)

    def test_answers_go_on_when_the_server_is_killed_and_another_comes(self):
        log = self.folder / "other"
        cli.CliTest.create(self, log)
        server = self.serve(log)
        process = self.start("append", log, "--acks", "--durable")
        for i in range(6):
            process.stdin.write(b"x" * 100 + b"\n")
            answer = json.loads(self.next_line(process))
            self.assertEqual((answer["line"], answer["sequence"]), (i + 1, i + 1))
            server.kill()
            server.wait()
            server = self.serve_again(log)
        process.stdin.close()
        self.expect_exit(process, 0)

    def serve_again(self, log):
        (log / "serve.sock").unlink(missing_ok=True)
        return self.serve(log)

    def test_without_a_server_for_too_long_it_writes_itself(self):
        log = self.folder / "other"
        cli.CliTest.create(self, log)
        server = self.serve(log)
        process = self.start("append", log, "--acks")
        process.stdin.write(b"one\n")
        self.next_line(process)
        server.send_signal(signal.SIGTERM)
        self.expect_exit(server, 0)
        process.stdin.write(b"two\n")
        self.assertEqual(json.loads(self.next_line(process))["sequence"], 2)
        process.stdin.close()
        self.expect_exit(process, 0)

    def test_what_the_server_retains_is_not_ours_to_say(self):
        done = self.run_raw("append", self.log, "--retain-size", "1MiB", stdin=b"x\n")
        self.assertEqual(done.code, 0)
        self.assertIn("--retain-size", done.err)
        self.assertEqual(self.payloads(), [b"x"])


for tests in (acks_test, append_test, event_ids_test, expect_test):
    globals().update(served(tests))

if __name__ == "__main__":
    if not can_serve():
        print("this tailrace has no serve")
        sys.exit(77)
    unittest.main(verbosity=2)
