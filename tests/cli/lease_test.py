"""`tailrace lease`: who holds the work, kept by a server."""

import signal
import unittest

from cli import CliTest


class Lease(CliTest):
    def setUp(self):
        super().setUp()
        self.create()
        self.server = self.start("serve", self.log)
        self.wait_until("a server", lambda: (self.log / "serve.sock").exists())

    def lease(self, *args, code=0):
        return self.run_cli("lease", self.log, *args, code=code)

    def acquire(self, *flags):
        return self.lease("acquire", "billing", "--ttl", "60s", *flags).out.decode().strip()

    def test_one_holds_it_until_it_is_released(self):
        token = self.acquire("--holder", "host a")
        refused = self.lease("acquire", "billing", "--ttl", "1s", code=5)
        self.assertIn("by host a", refused.err)
        self.assertIn(token, refused.err)
        told = self.lease("renew", "billing", token, "--json").json[0]
        self.assertEqual((told["granted"], told["token"], told["holder"]), (True, token, "host a"))
        self.assertGreater(told["remaining_ns"], 50_000_000_000)
        self.append(b"invoice 1", "--expect-fence", f"billing={token}")
        self.lease("release", "billing", token)
        self.append(b"invoice 2", "--expect-fence", f"billing={token}", code=5)
        self.lease("renew", "billing", token, code=5)
        heir = self.acquire()
        self.assertNotEqual(heir, token)
        self.append(b"invoice 2", "--expect-fence", f"billing={token}", code=5)
        self.append(b"invoice 3", "--expect-fence", f"billing={heir}")
        self.assertEqual(self.payloads(), [b"invoice 1", b"invoice 3"])

    def test_time_runs_out_and_the_next_one_waited_for_it(self):
        token = self.lease("acquire", "short", "--ttl", "300ms").out.decode().strip()
        heir = self.lease("acquire", "short", "--ttl", "60s", "--wait", "60s").out.decode().strip()
        self.assertNotEqual(heir, token)
        self.append(b"late", "--expect-fence", f"short={token}", code=5)

    def test_a_holder_that_was_stopped_beyond_its_time_is_refused(self):
        token = self.lease("acquire", "short", "--ttl", "300ms").out.decode().strip()
        holder = self.start("append", self.log, "--expect-fence", f"short={token}")
        holder.send_signal(signal.SIGSTOP)
        heir = self.lease("acquire", "short", "--ttl", "60s", "--wait", "60s").out.decode().strip()
        self.append(b"the heir's", "--expect-fence", f"short={heir}")
        holder.send_signal(signal.SIGCONT)
        holder.stdin.write(b"too late")
        holder.stdin.close()
        self.expect_exit(holder, 5)
        self.assertEqual(self.payloads(), [b"the heir's"])

    def test_a_restarted_server_gives_the_full_time_again(self):
        token = self.acquire()
        self.server.kill()
        self.server.wait()
        server = self.start("serve", self.log)
        self.wait_until("the next server", lambda: self.info()["writer"]["pid"] == server.pid)
        self.lease("acquire", "billing", "--ttl", "1s", code=5)
        self.append(b"invoice", "--expect-fence", f"billing={token}")
        self.lease("release", "billing", token)

    def test_bad_input(self):
        self.lease("acquire", "billing", code=2)
        self.lease("acquire", "billing", "--ttl", "0s", code=2)
        self.lease("renew", "billing", "7", code=2)
        self.lease("acquire", "n" * 1001, "--ttl", "1s", code=2)
        self.lease("renew", "nobody's", "1:1", code=5)

    def test_without_a_server(self):
        self.server.terminate()
        self.server.wait()
        done = self.run_raw("lease", self.log, "acquire", "billing", "--ttl", "1s")
        self.assertEqual(done.code, 3)
        self.assertIn("tailrace serve", done.err)


if __name__ == "__main__":
    unittest.main(verbosity=2)
