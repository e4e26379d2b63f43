"""`append --acks`: one answer per line, in order, at once."""

import json
import subprocess
import time
import unittest

from cli import BIN, CliTest

MIB = 1 << 20


class Acks(CliTest):
    def setUp(self):
        super().setUp()
        self.create(self.log, "--segment-size", "1MiB")

    def acks(self, stdin, *flags, code=0):
        done = self.run_raw("append", self.log, "--acks", *flags, stdin=stdin)
        self.assertEqual(done.code, code, done.err)
        return done.json

    def test_an_answer_has_exactly_these_fields(self):
        [ack] = self.acks(b'{"data":"x"}', "--jsonl")
        self.assertEqual(list(ack), ["line", "sequence", "epoch", "position", "durable"])
        [record] = self.records()
        self.assertEqual(ack, {"line": 1, "sequence": 1, "epoch": record["epoch"], "position": record["position"],
                               "durable": False})

    def test_a_batch_is_one_answer(self):
        first, batch = self.acks(b'{}\n{"batch":[{},{},{}]}', "--jsonl", "--durable")
        self.assertEqual(list(batch),
                         ["line", "first_sequence", "last_sequence", "count", "epoch", "position", "durable"])
        self.assertEqual((batch["line"], batch["first_sequence"], batch["last_sequence"], batch["count"]), (2, 2, 4, 3))
        self.assertEqual(batch["position"], self.records()[1]["position"])
        self.assertTrue(first["durable"] and batch["durable"])

    def test_answers_come_for_plain_lines_too(self):
        self.assertEqual([ack["sequence"] for ack in self.acks(b"a\n\nb")], [1, 2, 3])
        self.assertEqual([ack["line"] for ack in self.acks(b"a\0b", "-z")], [1, 2])

    def test_an_answer_comes_while_stdin_stays_open(self):
        for flags in [(), ("--durable",), ("--jsonl",), ("--jsonl", "--durable")]:
            process = self.start("append", self.log, "--acks", *flags)
            for number in range(1, 20):
                process.stdin.write(b'{"data":"x"}\n')
                ack = json.loads(self.next_line(process))
                self.assertEqual((ack["line"], ack["durable"]), (number, "--durable" in flags))
            process.stdin.close()
            self.expect_exit(process, 0)

    def test_an_answered_line_can_be_read_at_once_and_survives_a_kill(self):
        process = self.start("append", self.log, "--acks")
        process.stdin.write(b"a\nb\n")
        self.next_line(process)
        sequence = json.loads(self.next_line(process))["sequence"]
        self.assertEqual(self.records()[-1]["sequence"], sequence)
        process.kill()
        process.wait()
        self.assertEqual(self.payloads(), [b"a", b"b"])
        self.run_raw("append", self.log, stdin=b"c")
        self.assertEqual(self.payloads(), [b"a", b"b", b"c"])

    def test_a_durable_answer_is_true(self):
        process = self.start("append", self.log, "--acks", "--durable")
        process.stdin.write(b"a\n")
        self.next_line(process)
        self.assertEqual(self.info()["durable_sequence"], 1)

    def test_answers_keep_the_order_of_many_lines(self):
        for flags in [(), ("--durable",)]:
            start = time.monotonic()
            acks = self.acks(b"x\n" * 50_000, *flags)
            self.assertEqual([ack["line"] for ack in acks], list(range(1, 50_001)))
            sequences = [ack["sequence"] for ack in acks]
            self.assertEqual(sequences, list(range(sequences[0], sequences[0] + 50_000)))
            self.assertLess(time.monotonic() - start, 30, "one sync per line?")

    def test_a_line_too_large_is_answered_and_does_not_stop_the_stream(self):
        for flags in [(), ("--durable",)]:
            small, big, after = self.acks(b"a\n" + b"x" * 3 * MIB + b"\nb\n", *flags)
            self.assertEqual([big["line"], big["error"], after["line"]], [2, "too_large", 3])
            self.assertEqual(list(big), ["line", "error", "message"])
        self.assertEqual(self.payloads(), [b"a", b"b"] * 2)

    def test_too_large_in_every_framing(self):
        big = b"x" * 2 * MIB
        for flags, stdin in [(("-z",), b"a\0" + big + b"\0b"),
                             (("--jsonl",), b'{"data":"a"}\n{"data":"' + big + b'"}\n{"data":"b"}'),
                             (("--jsonl",), b'{"data":"a"}\n{"data":"' + big * 8 + b'"}\n{"data":"b"}'),
                             (("--length-prefix",), b"\1\0\0\0a\0\0\x20\0" + big + b"\1\0\0\0b")]:
            self.assertEqual([ack.get("error") for ack in self.acks(stdin, *flags)], [None, "too_large", None], flags)
        self.assertEqual(self.payloads(), [b"a", b"b"] * 4)

    def test_an_invalid_line_stops_the_stream_after_its_answer(self):
        for flags in [(), ("--durable",)]:
            answers = self.acks(b'{"data":"a"}\n{"what":1}\n{"data":"b"}\n', "--jsonl", *flags, code=1)
            self.assertEqual([answer["line"] for answer in answers], [1, 2])
            self.assertEqual(answers[1]["error"], "invalid")
            self.assertIn("what", answers[1]["message"])
        self.assertEqual(self.payloads(), [b"a", b"a"])

    def test_skip_invalid_answers_and_goes_on(self):
        for flags in [(), ("--durable",)]:
            answers = self.acks(b'{}\n\n{"keys":["a","a"]}\n{}\n', "--jsonl", "--skip-invalid", *flags)
            self.assertEqual([answer.get("error") for answer in answers], [None, "invalid", "invalid", None])

    def test_nobody_reads_the_answers_any_more(self):
        process = self.start("append", self.log, "--acks")
        process.stdout.close()
        process.stdin.write(b"a\n")
        self.expect_exit(process, 1)
        self.assertIn(b"stdout: ", process.stderr.read())
        self.assertEqual(self.payloads(), [b"a"])

    def test_answers_to_a_full_disk(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([BIN, "append", self.log, "--acks"], input=b"a", stdout=full, stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"stdout: No space left on device", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
