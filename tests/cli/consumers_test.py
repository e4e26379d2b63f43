"""`tailrace consumers` and `read --from consumer:NAME`."""

import json
import os
import random
import signal
import subprocess
import time
import unittest

from cli import BIN, PATIENCE_S, CliTest

seed = int(os.environ.get("TAILRACE_SEED", random.SystemRandom().randrange(2**32)))


class Consumers(CliTest):
    def setUp(self):
        super().setUp()
        self.create()
        self.append(b"".join(b"%d\n" % n for n in range(1, 11)))

    def consumers(self, *args, code=0):
        return self.run_cli("consumers", self.log, *args, code=code)

    def show(self, name):
        return self.consumers("show", name, "--json").json[0]

    def committed(self, name):
        return self.show(name)["committed"]["sequence"]

    def take(self, name, *flags, code=0):
        return self.read("--from", f"consumer:{name}", *flags, code=code).lines

    def test_the_loop_of_a_shell(self):
        self.consumers("create", "work")
        self.assertEqual(self.take("work", "-n", "3"), ["1", "2", "3"])
        self.assertEqual(self.take("work", "-n", "3"), ["1", "2", "3"])  # nobody has acknowledged anything
        self.consumers("commit", "work", "3")
        self.assertEqual(self.take("work", "--to", "5"), ["4", "5"])
        self.consumers("commit", "work", "5", "--durable")
        self.assertEqual(self.show("work")["durable_sequence"], 5)
        self.assertEqual(self.take("work"), ["6", "7", "8", "9", "10"])
        self.consumers("commit", "work", "10")
        self.assertEqual(self.take("work"), [])
        self.consumers("commit", "work", "10")  # again: no harm
        self.assertIn("only a reset goes back", self.consumers("commit", "work", "9", code=2).err)
        self.consumers("commit", "work", "11", code=3)
        self.consumers("commit", "work", "10", "--epoch", "7")

    def test_what_is_shown(self):
        self.consumers("create", "store", "--from", "4")
        self.consumers("create", "index", "--after", "store", "--durable-effects", "--retain", "1MiB", "--over-cap", "hold")
        lines = self.consumers("list").lines
        self.assertRegex(lines[0], r"^writer none; committed 10, durable 10$")
        self.assertEqual(lines[1].split(), ["CONSUMER", "OWNER", "COMMITTED", "DURABLE", "LAG", "BYTES", "AGE"])
        self.assertEqual(lines[3].split()[:5], ["store", "none", "3", "3", "7"])
        index, store = self.consumers("list", "--json").json
        self.assertEqual((index["name"], index["after"], index["durable_effects"]), ("index", ["store"], True))
        self.assertEqual(index["retain"], {"cap_bytes": 1 << 20, "over_cap": "hold_append", "needed_position": "0"})
        self.assertEqual((store["retain"], store["trouble"]), (None, None))
        self.assertEqual((store["lag_records"], store["lag_bytes"]), (7, 7 * 64))
        self.assertGreater(store["lag_ns"], 0)
        self.assertEqual(store["owner"], {"state": "none", "pid": None})
        self.assertIn("7 records", self.consumers("show", "store").out.decode())

    def test_lag_is_shown_with_the_writers_heartbeat(self):
        self.consumers("create", "work", "--from", "end", "--committed")
        writer = self.start("append", self.log, "--acks")
        writer.stdin.write(b"x\n")
        self.next_line(writer)
        self.consumers("commit", "work", "11")
        state = self.show("work")["writer"]
        self.assertEqual((state["state"], state["pid"]), ("running", writer.pid))
        writer.send_signal(signal.SIGSTOP)
        self.wait_until("the writer counts as stalled", lambda: self.show("work")["writer"]["state"] == "stalled")
        self.assertGreater(self.show("work")["writer"]["heartbeat_age_ns"], 900_000_000)
        self.assertEqual(self.show("work")["lag_records"], 0)
        lines = self.consumers("list").lines
        self.assertIn("stands still", lines[1])
        self.assertEqual(lines[3].split()[4], "0?")
        writer.send_signal(signal.SIGCONT)

    def test_one_owner_and_a_dead_one(self):
        self.consumers("create", "work")
        owner = self.start("read", self.log, "--from", "consumer:work", "--follow")
        self.next_line(owner)
        for args in (["commit", "work", "3"], ["reset", "work", "--to", "start"], ["remove", "work"]):
            self.assertIn(f"pid {owner.pid}", self.consumers(*args, code=7).err)
        self.read("--from", "consumer:work", code=7)
        self.assertEqual(self.show("work")["owner"], {"state": "live", "pid": owner.pid})
        self.consumers("wait", "work", "3", "--live", "--timeout", "30ms", code=124)
        owner.kill()
        owner.wait()
        self.assertEqual(self.show("work")["owner"], {"state": "dead", "pid": owner.pid})
        self.assertIn(f"pid {owner.pid}", self.consumers("wait", "work", "3", "--live", code=1).err)
        self.consumers("commit", "work", "3")
        self.consumers("wait", "work", "3", "--live")
        self.assertEqual(self.show("work")["owner"]["state"], "none")

    def test_gates(self):
        self.consumers("create", "store")
        self.consumers("create", "index", "--after", "store")
        self.assertEqual(self.take("index"), [])
        self.consumers("commit", "index", "1", code=2)
        self.consumers("commit", "store", "2")
        self.assertEqual(self.take("index"), ["1", "2"])
        self.consumers("remove", "store")
        self.assertIn("store was removed", self.take_error("index"))
        self.consumers("create", "store")
        self.assertIn("made anew", self.take_error("index"))
        self.consumers("create", "x", "--after", "nobody", code=3)

    def take_error(self, name):
        return self.read("--from", f"consumer:{name}", code=4).err

    def test_filters_and_groups(self):
        self.append_jsonl({"data": "a", "keys": ["user:ada"], "type": 3}, {"data": "b", "keys": ["user:bob"]}, {"data": "c"})
        self.consumers("create", "some")
        self.assertEqual(self.take("some", "--key-prefix", "user:"), ["a", "b"])
        self.assertEqual(self.take("some", "--type", "3", "--format", r"%s\n"), ["11"])
        self.consumers("create", "g", "--members", "2", "--from", "11")
        both = self.take("g.1-of-2") + self.take("g.2-of-2")
        self.assertEqual(sorted(both), ["a", "b", "c"])
        self.read("--from", "consumer:g", code=2)
        self.consumers("remove", "g")
        self.assertEqual([each["name"] for each in self.consumers("list", "--json").json], ["some"])

    def test_reset(self):
        self.consumers("create", "work", "--from", "end")
        self.assertEqual(self.take("work"), [])
        self.consumers("reset", "work", "--to", "9")
        self.assertEqual(self.take("work"), ["9", "10"])
        self.consumers("reset", "work", "--to", "start")
        self.assertEqual(self.committed("work"), 0)
        self.consumers("reset", "work", "--to", "99", code=3)

    def test_damage_and_divergence_exit_4(self):
        self.consumers("create", "work")
        self.consumers("commit", "work", "4")
        file = self.log / "consumers" / "work.consumer"
        whole = file.read_bytes()
        file.write_bytes(whole[:4096] + bytes(8192) + whole[12288:])
        self.assertIn(str(file), self.read("--from", "consumer:work", code=4).err)
        self.assertEqual(self.show("work")["trouble"]["error"], "corrupt")
        file.write_bytes(whole)
        other = self.folder / "other"
        self.create(other)
        (other / "consumers" / "work.consumer").write_bytes(whole)
        self.assertIn("another log", self.run_cli("read", other, "--from", "consumer:work", code=4).err)

    def test_usage(self):
        for args in ([], ["frob"], ["create"], ["create", "a/b"], ["create", ""], ["create", "x.1-of-2"], ["commit", "x"],
                     ["commit", "x", "y"], ["reset", "x"], ["reset", "x", "--to", "0"], ["wait", "x", "1", "--timeout", "soon"],
                     ["create", "x", "--members", "65"], ["create", "x", "--over-cap", "gone"]):
            self.consumers(*args, code=2)
        for args in (["show", "x"], ["commit", "x", "1"], ["reset", "x", "--to", "1"], ["remove", "x"], ["wait", "x", "1"]):
            self.consumers(*args, code=3)
        self.consumers("create", "x")
        self.consumers("create", "x", code=1)
        self.run_cli("consumers", self.folder / "nowhere", "list", code=3)
        self.read("--from", "consumer:", code=2)
        self.read("--from", "consumer:nobody", code=3)
        self.read("--ack-fd", "0", code=2)
        self.read("--from", "consumer:x", "--ack-fd", "77", code=2)
        self.read("--from", "consumer:x", "--durable", code=2)
        for command in ([], ["list"], ["create"], ["wait"]):
            self.assertIn("Usage: tailrace consumers", self.consumers(*command, "--help").out.decode())

    def test_waiting(self):
        self.consumers("create", "cache", "--committed")
        waiting = self.start("consumers", self.log, "wait", "cache", "7")
        self.consumers("commit", "cache", "6")
        time.sleep(0.02)
        self.assertIsNone(waiting.poll())
        self.consumers("commit", "cache", "7")
        self.expect_exit(waiting, 0)
        self.consumers("wait", "cache", "8", "--timeout", "0", code=124)
        self.interrupt(self.started_waiting())

    def started_waiting(self):
        waiting = self.start("consumers", self.log, "wait", "cache", "9")
        time.sleep(0.2)
        return waiting

    def with_acks(self, *flags):
        """A reader with --ack-fd. Returns it and the pipe's writing end."""
        to_read, to_write = os.pipe()
        process = self.start("read", self.log, "--from", "consumer:work", "--ack-fd", str(to_read), *flags,
                             pass_fds=[to_read])
        os.close(to_read)
        return process, to_write

    def test_ack_fd(self):
        self.consumers("create", "work")
        reader, acks = self.with_acks("--follow")
        for n in range(1, 6):
            self.assertEqual(self.next_line(reader), b"%d" % n)
        os.write(acks, b"2\n4\n")
        self.wait_until("4 is committed", lambda: self.committed("work") == 4)
        os.write(acks, b"5")  # half a line
        os.close(acks)
        self.expect_exit(reader, 0)
        self.assertEqual(self.committed("work"), 4)

        reader, acks = self.with_acks("-n", "3")
        self.assertEqual([self.next_line(reader) for _ in range(3)], [b"5", b"6", b"7"])
        self.assertIsNone(reader.poll())  # it waits for what it has handed out
        os.write(acks, b"5\n6\n7\n")
        self.expect_exit(reader, 0)
        os.close(acks)
        self.assertEqual(self.committed("work"), 7)

        for wrong in (b"seven\n", b"999\n"):
            reader, acks = self.with_acks()
            self.next_line(reader)
            os.write(acks, wrong)
            self.expect_exit(reader, 1)
            os.close(acks)
            self.assertEqual(self.committed("work"), 7)

    def test_killing_the_loop_loses_nothing_and_commits_nothing_unacknowledged(self):
        """The whole loop is killed again and again, with a reader, a worker and a committer in it."""
        dice = random.Random(seed)
        print(f"seed: TAILRACE_SEED={seed}", flush=True)
        self.append(b"".join(b"%d\n" % n for n in range(11, 121)))
        self.consumers("create", "work")
        loop = f"""
            while "{BIN}" read log --from consumer:work -n 2 --format '%s\\n' >batch && test -s batch; do
              while read -r n; do echo "$n" >>done; done <batch
              n=$(tail -n 1 batch)
              echo "$n" >>acknowledged
              "{BIN}" consumers log commit work "$n" || exit 1
            done"""
        done = self.folder / "done"
        acknowledged = self.folder / "acknowledged"
        kills = 0
        for _ in range(200):
            process = subprocess.Popen(["bash", "-c", loop], cwd=self.folder, start_new_session=True,
                                       stderr=subprocess.DEVNULL)
            try:
                process.wait(dice.uniform(0.01, 0.06) if kills < 25 else PATIENCE_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                kills += 1
            self.wait_until("the killed ones have let go", lambda: self.show("work")["owner"]["state"] != "live")
            said = [int(n) for n in acknowledged.read_text().split()] if acknowledged.exists() else [0]
            self.assertLessEqual(self.committed("work"), max(said))
            if self.committed("work") == 120:
                break
        self.assertEqual(self.committed("work"), 120)
        got = [int(n) for n in done.read_text().split()]
        first = [n for i, n in enumerate(got) if n not in got[:i]]
        self.assertEqual(first, list(range(1, 121)), "each at least once, in order")
        self.assertGreater(kills, 3)


if __name__ == "__main__":
    unittest.main(verbosity=2)
