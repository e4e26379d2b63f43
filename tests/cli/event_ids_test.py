"""Event ids of `tailrace append`: --event-id, "event_id" in the lines of --jsonl, and `read --json --ids`."""

import json
import unittest

from cli import CliTest

ID = "0123456789abcdef0123456789abcdef"
OTHER = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"


class Flag(CliTest):
    def setUp(self):
        super().setUp()
        self.create()

    def test_all_of_stdin_is_appended_once(self):
        for _ in range(3):
            self.append(b"a\nb\n", "--event-id", ID, "--key", "k")
        self.append(b"a\nb\n", "--event-id", OTHER)
        self.assertEqual(self.payloads(), [b"a", b"b", b"a", b"b"])

    def test_a_duplicate_is_answered_with_its_place(self):
        self.append(b"before\n")
        for flags in ((), ("--durable",)):
            first, = self.append(b"a\nb\n", "--event-id", ID, "--acks", *flags).json
            again, = self.append(b"a\nb\n", "--event-id", ID.upper(), "--acks", *flags).json
            if not flags:
                self.assertEqual((first["first_sequence"], first["count"]), (2, 2))
            self.assertEqual(again, {"line": 1, "first_sequence": 2, "last_sequence": 3, "count": 2, "duplicate": True})

    def test_the_retry_of_a_winner_is_no_conflict(self):
        flags = ("--event-id", ID, "--key", "user:ada", "--expect-absent", "user:ada")
        for _ in range(2):
            self.append(b"ada\n", *flags)
        self.append(b"ada\n", "--event-id", OTHER, *flags[2:], code=5)
        self.assertEqual(self.info()["last_sequence"], 1)

    def test_other_records_are_refused(self):
        self.append(b"a\n", "--event-id", ID)
        done = self.append(b"b\n", "--event-id", ID, code=5)
        self.assertIn(f"the event id {ID} was given to other records (sequence 1)", done.err)
        answer, = self.append(b"b\n", "--event-id", ID, "--acks").json
        self.assertEqual((answer["line"], answer["error"]), (1, "event_id_reused"))
        self.assertEqual(self.payloads(), [b"a"])

    def test_wrong_values_are_usage_errors(self):
        for flags in (("--event-id", ""), ("--event-id", ID[1:]), ("--event-id", "x" * 32),
                      ("--event-id", ID, "--jsonl"), ("--event-id", ID, "--event-id", OTHER)):
            self.append(b"a\n", *flags, code=2)


class Window(CliTest):
    def test_is_stated_and_kept(self):
        self.create(self.log, "--event-id-window", "2")
        self.assertEqual(self.info()["event_id_window"], 2)
        self.assertIn("the last 2 are remembered", self.run_cli("info", self.log).out.decode())
        ids = [f"{number:032x}" for number in range(3)]
        for event_id in ids:
            self.append(b"x\n", "--event-id", event_id)
        for event_id in ids[1:]:
            self.append(b"x\n", "--event-id", event_id)
        self.assertEqual(self.info()["last_sequence"], 3)
        self.append(b"x\n", "--event-id", ids[0])
        self.assertEqual(self.info()["last_sequence"], 4)

    def test_is_ten_million_by_default(self):
        self.create()
        self.assertEqual(self.info()["event_id_window"], 10_000_000)

    def test_none(self):
        self.create(self.log, "--event-id-window", "0")
        self.assertIn("none are taken", self.run_cli("info", self.log).out.decode())
        self.assertIn("to take no event ids", self.append(b"x\n", "--event-id", ID, code=1).err)
        self.append(b"x\n")
        self.run_cli("create", self.log / "other", "--event-id-window", "-1", code=2)


class Lines(CliTest):
    def setUp(self):
        super().setUp()
        self.create()

    def answers(self, *lines, flags=(), code=0):
        text = "".join(json.dumps(line) + "\n" for line in lines).encode()
        return self.append(text, "--jsonl", "--acks", *flags, code=code).json

    def test_duplicates_and_reuse_do_not_stop_the_stream(self):
        for flags in ((), ("--durable",)):
            event_id = ID if flags else OTHER
            base = self.info()["last_sequence"]
            line = {"data": "x", "keys": ["k"], "event_id": event_id}
            answers = self.answers({"data": "0"}, line, {**line, "data": "y"}, line, {"data": "2"}, flags=flags)
            self.assertEqual([answer.get("sequence") for answer in answers],
                             [base + 1, base + 2, None, base + 2, base + 3])
            self.assertEqual(answers[2]["error"], "event_id_reused")
            self.assertEqual(answers[3], {"line": 4, "sequence": base + 2, "duplicate": True})
            self.assertNotIn("duplicate", answers[1])

    def test_a_batch_has_its_id_beside_it(self):
        batch = {"batch": [{"data": "a"}, {"data": "b"}], "event_id": ID, "expect": {"last_sequence": 0}}
        first, again = self.answers(batch, batch)
        self.assertEqual((first["first_sequence"], first["last_sequence"]), (1, 2))
        self.assertEqual(again, {"line": 2, "first_sequence": 1, "last_sequence": 2, "count": 2, "duplicate": True})
        answer, = self.answers({"batch": [{"event_id": ID}]}, code=1)
        self.assertIn('"event_id" belongs beside "batch"', answer["message"])

    def test_without_acks_a_reused_id_ends_it_with_5(self):
        lines = "".join(json.dumps({"data": data, "event_id": ID}) + "\n" for data in "aab")
        done = self.append(lines.encode() + b"{}\n", "--jsonl", code=5)
        self.assertIn("line 3: the event id", done.err)
        self.assertEqual(self.payloads(), [b"a"])

    def test_malformed(self):
        for event_id in (1, "", ID[1:], ID + "0", [ID], None):
            answers = self.answers({"event_id": event_id}, code=1)
            self.assertEqual((answers[0]["error"], len(answers)), ("invalid", 1), event_id)
        twice = f'"event_id":"{ID}"'
        for line in (f"{{{twice},{twice}}}", f'{{{twice},"batch":[{{}}],{twice}}}'):
            self.append(line.encode(), "--jsonl", code=1)
        self.assertEqual(self.payloads(), [])

    def test_ids_are_shown_when_asked_for_and_make_the_round_trip(self):
        self.answers({"data": "a", "event_id": OTHER, "keys": ["k"], "release": ["l"]}, {"data": "b"},
                     {"batch": [{"data": "c"}, {"data": "d"}], "event_id": ID})
        self.assertEqual({"event_id" in record for record in self.records()}, {False})
        shown = self.run_cli("read", self.log, "--json", "--ids").out
        self.assertEqual([json.loads(line).get("event_id") for line in shown.splitlines()],
                         [OTHER.replace("-", ""), None, ID, None])
        self.assertRegex(shown.splitlines()[0].decode(),
                         r'"keys":\["k"\],"release":\["l"\],"event_id":"[0-9a-f]{32}","size":1')
        copy = self.log.parent / "copy"
        self.create(copy)
        for _ in range(2):
            done = self.run_cli("append", copy, "--jsonl", "--acks", stdin=shown)
        self.assertEqual([answer.get("duplicate") for answer in done.json], [True, None, True, None])
        self.run_cli("read", self.log, "--ids", code=2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
