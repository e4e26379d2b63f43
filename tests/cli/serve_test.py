"""`tailrace serve`: one writer for many processes."""

import json
import os
import pwd
import select
import signal
import socket
import unittest

from cli import PATIENCE_S, CliTest


class Serve(CliTest):
    def setUp(self):
        super().setUp()
        self.create(self.log, "--segment-size", "1MiB")

    def serve(self, *flags, log=None, **options):
        """A server that clients can connect to."""
        log = log or self.log
        server = self.start("serve", log, *flags, **options)
        self.wait_until("a server", lambda: (log / "serve.sock").exists() or server.poll() is not None)
        self.assertIsNone(server.poll(), server.poll() is not None and server.stderr.read())
        return server

    def end(self, server, code=0):
        server.send_signal(signal.SIGTERM)
        self.expect_exit(server, code)
        return server.stderr.read().decode()

    def test_append_goes_through_it(self):
        server = self.serve()
        self.append(b"one\ntwo\n")
        answers = self.append(b'{"data":"three"}\n{"batch":[{},{}]}\n', "--jsonl", "--acks", "--durable").json
        self.assertEqual([answer["durable"] for answer in answers], [True, True])
        self.assertEqual(answers[0]["sequence"], 3)
        self.assertEqual(self.payloads()[:3], [b"one", b"two", b"three"])
        said = self.end(server)
        self.assertIn("connected", said)
        self.assertEqual(self.info()["last_sequence"], 5)
        self.assertEqual(self.info()["epoch"], 1, "all of it was one writer's")
        self.run_cli("verify", self.log)

    def test_conditions_of_several_processes_are_decided_by_one(self):
        server = self.serve()
        ada = ("--key", "user:ada", "--expect-absent", "user:ada")
        self.append(b"first", *ada)
        done = self.append(b"second", *ada, code=5)
        self.assertIn("user:ada", done.err)
        self.assertEqual(self.payloads(), [b"first"])
        self.append(b"again", "--event-id", "6ba7b810-9dad-11d1-80b4-00c04fd430c8")
        self.append(b"again", "--event-id", "6ba7b810-9dad-11d1-80b4-00c04fd430c8")
        self.assertEqual(self.payloads(), [b"first", b"again"])
        self.append(b"other", "--event-id", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", code=5)
        self.end(server)

    def test_many_pipes_at_once(self):
        server = self.serve()
        pipes = [self.start("append", self.log, "--jsonl", "--acks") for _ in range(8)]
        for turn in range(50):
            for pipe in pipes:
                pipe.stdin.write(json.dumps({"keys": [f"n:{turn}"], "expect": {"absent": [f"n:{turn}"]}}).encode() + b"\n")
        created = {}
        for pipe in pipes:
            for turn in range(50):
                answer = json.loads(self.next_line(pipe))
                if "conflict" not in answer:
                    self.assertNotIn(turn, created)
                    created[turn] = answer["sequence"]
            pipe.stdin.close()
            self.expect_exit(pipe, 0)
        self.assertEqual(len(created), 50)
        self.assertEqual({int(r["keys"][0][2:]): r["sequence"] for r in self.records()}, created)
        self.end(server)

    def test_sigterm_finishes_what_was_taken(self):
        server = self.serve()
        pipe = self.start("append", self.log, "--acks")
        pipe.stdin.write(b"a\n")
        self.assertEqual(json.loads(self.next_line(pipe))["sequence"], 1)
        said = self.end(server)
        self.assertIn("stopping", said)
        info = self.info()
        self.assertEqual((info["last_sequence"], info["durable_sequence"]), (1, 1))
        self.assertEqual(info["writer"]["state"], "none")
        self.assertFalse((self.log / "serve.sock").exists())

    def test_a_killed_server_is_followed_by_the_next(self):
        server = self.serve()
        pipe = self.start("append", self.log, "--acks")
        pipe.stdin.write(b"a\n")
        self.next_line(pipe)
        server.kill()
        server.wait()
        self.assertTrue((self.log / "serve.sock").exists(), "nobody was left to remove it")
        again = self.start("serve", self.log)
        self.wait_until("the next server", lambda: self.info()["writer"]["pid"] == again.pid)
        pipe.stdin.write(b"b\n")
        self.assertEqual(json.loads(self.next_line(pipe))["sequence"], 2)
        pipe.stdin.close()
        self.expect_exit(pipe, 0)
        self.assertEqual(self.payloads(), [b"a", b"b"])
        self.end(again)

    def test_the_second_server_is_told_who_writes(self):
        server = self.serve()
        done = self.run_cli("serve", self.log, code=7)
        self.assertIn(f"pid {server.pid}", done.err)
        # ... or waits for it.
        heir = self.start("serve", self.log, "--wait", "60s")
        self.end(server)
        self.wait_until("the heir", lambda: self.info()["writer"]["pid"] == heir.pid)
        self.append(b"a")
        self.end(heir)

    def test_no_such_log(self):
        self.run_cli("serve", self.folder / "nowhere", code=3)
        self.run_cli("serve", self.log, "--allow", "no such user", code=2)
        self.run_cli("serve", self.log, self.log, "--cpu", "0", code=2)
        self.run_cli("serve", self.log, self.log, code=7)

    def test_several_logs(self):
        other = self.folder / "other"
        self.create(other)
        server = self.start("serve", self.log, other)
        for log in (self.log, other):
            self.wait_until("a server", lambda: (log / "serve.sock").exists())
            self.run_cli("append", log, stdin=b"a")
        said = self.end(server)
        self.assertIn(f"{other}:", said)

    def test_json_lines(self):
        server = self.serve("--json")
        self.append(b"a")
        events = [json.loads(line) for line in self.end(server).splitlines()]
        self.assertEqual([event["event"] for event in events], ["ready", "connected", "disconnected", "stopping"])
        self.assertEqual({event["log"] for event in events}, {str(self.log)})
        self.assertEqual(events[1]["uid"], os.getuid())
        self.assertGreater(events[1]["pid"], 0)

    def test_top_shows_clients(self):
        server = self.serve()
        pipe = self.start("append", self.log, "--acks")
        pipe.stdin.write(b"a\nb\n")
        self.next_line(pipe)
        self.next_line(pipe)

        def clients():
            return self.run_cli("top", self.log, "--count", "1", "--json").json[0]["clients"]

        self.wait_until("its requests", lambda: clients() and clients()[0]["requests"] == 2)
        client = clients()[0]
        self.assertEqual((client["pid"], client["uid"]), (pipe.pid, os.getuid()))
        self.assertEqual((client["records"], client["conflicts"], client["in_flight"]), (2, 0, 0))
        self.assertFalse(client["stalled"])
        line = self.run_cli("top", self.log, "--count", "1").lines[1]
        self.assertIn(f"client={client['client']} pid={pipe.pid} ", line)
        self.end(server)
        self.assertEqual(clients(), [])

    def test_what_it_leaves_in_the_log_is_no_part_of_it(self):
        server = self.serve()
        self.append(b"a\nb\n")
        self.run_cli("verify", self.log)
        self.run_cli("verify", self.log, "--deep")
        self.append(b"c\n", "--durable")
        self.run_cli("backup", self.log, self.folder / "copy")
        self.run_cli("restore", self.folder / "copy", self.folder / "restored")
        names = {path.name for path in (self.folder / "restored").iterdir()}
        self.assertFalse({"serve.sock", "clients"} & names, names)
        self.assertEqual(self.run_cli("read", self.folder / "restored").out, b"a\nb\nc\n")
        self.end(server)

    def test_it_tells_the_service_manager(self):
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        address = str(self.folder / "notify")
        manager.bind(address)
        manager.settimeout(PATIENCE_S)
        server = self.serve(env={**os.environ, "NOTIFY_SOCKET": address})
        self.assertEqual(manager.recv(100), b"READY=1")
        self.append(b"a")
        self.end(server)
        self.assertEqual(manager.recv(100), b"STOPPING=1")

    @unittest.skipUnless(os.getuid() == 0, "becomes other users")
    def test_only_who_is_allowed(self):
        nobody = pwd.getpwnam("nobody")
        group = nobody.pw_gid
        os.chmod(self.folder, 0o755)
        for path in [self.log, *self.log.rglob("*")]:
            os.chown(path, 0, group, follow_symlinks=False)
        stranger = {"user": nobody.pw_uid, "group": group, "extra_groups": []}
        try:
            reached = self.run_raw("--version", **stranger).code == 0
        except PermissionError:
            reached = False
        if not reached:
            self.skipTest("other users cannot reach the program")
        self.assertNotEqual(self.run_raw("append", self.log, stdin=b"a", **stranger).code, 0)
        for flags, code in [((), 1), (("--allow", "nobody"), 0), (("--allow", f"@{group}"), 0), (("--allow-all",), 0),
                            (("--allow", "daemon"), 1)]:
            server = self.serve(*flags, "--trust-clients")
            done = self.run_raw("append", self.log, stdin=b"a", **stranger)
            self.assertEqual(done.code, code, f"{flags}: {done.err}")
            if code != 0:
                self.assertIn("allow", done.err)
            said = self.end(server)
            if flags:  # else the socket's mode has kept it out
                self.assertIn("connected" if code == 0 else "refused", said)
        self.assertEqual(len(self.payloads()), 3)

    def test_a_lone_line_is_answered_while_both_sleep(self):
        server = self.serve()
        pipe = self.start("append", self.log, "--acks", "--durable")
        for turn in range(5):
            self.assertFalse(select.select([pipe.stdout], [], [], 0.05)[0])
            pipe.stdin.write(b"line\n")
            self.assertEqual(json.loads(self.next_line(pipe))["sequence"], turn + 1)
        self.end(server)


if __name__ == "__main__":
    unittest.main(verbosity=2)
