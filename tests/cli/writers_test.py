"""Writers that meet, die and come back."""
# labels: slow

import json
import random
import time
import unittest

from cli import CliTest


class Writers(CliTest):
    def setUp(self):
        super().setUp()
        self.create(self.log, "--segment-size", "1MiB")

    def test_the_second_writer_is_told_who_holds_the_lock(self):
        writer = self.start("append", self.log, "--acks")
        writer.stdin.write(b"a\n")
        self.next_line(writer)
        done = self.append(b"b", code=7)
        self.assertIn(f"pid {writer.pid}", done.err)
        self.assertIn(str(self.log), done.err)
        self.assertEqual(self.payloads(), [b"a"])
        writer.stdin.close()
        self.expect_exit(writer, 0)
        self.append(b"b")

    def test_no_answered_line_is_lost_by_kill_9(self):
        seed = random.SystemRandom().randrange(1 << 32)
        print(f"seed {seed}", flush=True)
        chance = random.Random(seed)
        answered = 0
        for attempt in range(15):
            size = chance.choice([0, 10, 1000, 100_000])
            writer = self.start("append", self.log, "--acks")
            try:
                until = time.monotonic() + chance.uniform(0, 0.2)
                while time.monotonic() < until:
                    writer.stdin.write(b"%d:" % attempt + b"x" * size + b"\n")
                    answered = json.loads(self.next_line(writer))["sequence"]
            finally:
                writer.kill()
                writer.wait()
            self.assertGreaterEqual(self.info()["last_sequence"], answered)
            self.assertIn(self.run_raw("verify", self.log).code, (0, 6))
        self.assertEqual(self.run_raw("append", self.log, stdin=b"end").code, 0)
        sequences = [record["sequence"] for record in self.records()]
        self.assertEqual(sequences, list(range(1, len(sequences) + 1)))
        self.assertEqual(self.payloads()[-1], b"end")
        self.run_cli("verify", self.log)

    def test_a_follower_sees_every_record_once_over_crashes(self):
        reader = self.start("read", self.log, "--follow", "--format", r"%s\n")
        seen = 0
        for _ in range(5):
            writer = self.start("append", self.log, "--acks")
            for _ in range(20):
                writer.stdin.write(b"x" * 20_000 + b"\n")
                sequence = json.loads(self.next_line(writer))["sequence"]
                while seen < sequence:
                    seen += 1
                    self.assertEqual(self.next_line(reader), b"%d" % seen)
            writer.kill()
            writer.wait()
        self.interrupt(reader)


if __name__ == "__main__":
    unittest.main(verbosity=2)
