"""`tailrace info` and `tailrace verify`."""

import unittest

from cli import CliTest, patch, segments


class Info(CliTest):
    def test_json_has_exactly_these_fields(self):
        self.create(self.log, "--segment-size", "1MiB")
        info = self.info()
        self.assertEqual(list(info), ["log_id", "format_version", "epoch", "first_sequence", "last_sequence",
                                      "durable_sequence", "segment_size_bytes", "journal_size_bytes", "event_id_window",
                                      "backend", "writer"])
        self.assertRegex(info["log_id"], "^[0-9a-f]{32}$")
        self.assertEqual((info["format_version"], info["epoch"], info["first_sequence"], info["last_sequence"]), (1, 0, 0, 0))
        self.assertEqual((info["segment_size_bytes"], info["journal_size_bytes"]), (1 << 20, 1 << 20))
        self.assertEqual(info["writer"], {"state": "none", "pid": None})

    def test_numbers_grow(self):
        self.create()
        self.append(b"a\nb\nc")
        info = self.info()
        self.assertEqual((info["epoch"], info["first_sequence"], info["last_sequence"], info["durable_sequence"]), (1, 1, 3, 3))
        self.append(b"d")
        self.assertEqual((self.info()["epoch"], self.info()["last_sequence"]), (2, 4))

    def test_the_writer_is_named_running_and_crashed(self):
        self.create()
        writer = self.start("append", self.log, "--acks")
        writer.stdin.write(b"a\n")
        self.next_line(writer)
        self.assertEqual(self.info()["writer"], {"state": "running", "pid": writer.pid})
        self.assertIn(f"running, pid {writer.pid}", self.run_cli("info", self.log).out.decode())
        writer.kill()
        writer.wait()
        self.assertEqual(self.info()["writer"]["state"], "crashed")
        self.append(b"b")
        self.assertEqual(self.info()["writer"], {"state": "none", "pid": None})

    def test_for_people(self):
        self.create()
        self.append(b"a\nb")
        text = self.run_cli("info", self.log).out.decode()
        self.assertIn("2, sequences 1 to 2", text)
        self.assertIn("64 MiB", text)
        self.assertEqual({line[12] for line in text.splitlines()}, {" "})


class Verify(CliTest):
    def test_ok(self):
        self.create()
        self.append(b"a\nb")
        [verdict] = self.run_cli("verify", self.log, "--json").json
        self.assertEqual(list(verdict), ["verdict", "file", "offset", "sequence", "bytes", "records"])
        self.assertEqual((verdict["verdict"], verdict["records"]), ("ok", 2))
        self.assertIn("ok: 2 records", self.run_cli("verify", self.log).out.decode())

    def test_an_empty_log_is_ok(self):
        self.create()
        self.assertEqual(self.run_cli("verify", self.log, "--json").json[0]["records"], 0)

    def test_a_live_writer_is_ok(self):
        self.create()
        writer = self.start("append", self.log, "--acks")
        writer.stdin.write(b"a\n")
        self.next_line(writer)
        self.assertEqual(self.run_cli("verify", self.log, "--json").json[0]["verdict"], "ok")

    def test_a_torn_tail_is_told_from_damage_then_cut_and_reported_by_append(self):
        self.create()
        self.append(b"a\nb\n")
        segment = segments(self.log)[0]  # the next one may have been prepared
        end = max(int(record["position"]) for record in self.records()) + 64
        # As a power cut leaves it: the beginning of a frame, its checksum wrong.
        patch(segment, end, b"\x30\0\0\0\1\2\3\4" + (3).to_bytes(8, "little") + b"torn")
        verdict = self.run_cli("verify", self.log, "--json", code=6).json[0]
        self.assertEqual(verdict["verdict"], "torn_tail")
        self.assertEqual((verdict["file"], verdict["offset"], verdict["sequence"]), (f"segments/{segment.name}", end, 3))
        self.assertIn("torn tail: ", self.run_cli("verify", self.log, code=6).out.decode())
        done = self.run_raw("append", self.log, stdin=b"c")
        self.assertEqual(done.code, 0, done.err)
        self.assertIn("cut an unfinished tail", done.err)
        self.assertEqual(self.payloads(), [b"a", b"b", b"c"])
        self.run_cli("verify", self.log)


if __name__ == "__main__":
    unittest.main(verbosity=2)
