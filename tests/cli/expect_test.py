"""Conditions of `tailrace append`: --expect-..., and "expect" in the lines of --jsonl --acks."""

import json
import shutil
import unittest

from cli import CliTest


class Flags(CliTest):
    def setUp(self):
        super().setUp()
        self.create()

    def last(self):
        return self.info()["last_sequence"]

    def test_absent(self):
        self.append(b"ada\n", "--key", "user:ada", "--expect-absent", "user:ada")
        done = self.append(b"ada\n", "--key", "user:ada", "--expect-absent", "user:ada", code=5)
        self.assertIn("condition absent 'user:ada' does not hold", done.err)
        self.assertIn("sequence 1", done.err)
        self.assertEqual(self.last(), 1)

    def test_each_flag(self):
        self.append(b"x\n", "--key", "k")
        for flags in (("--expect-exists", "k"), ("--expect-version", "k=1"), ("--expect-unchanged", "k=1"),
                      ("--expect-last-sequence", "4"), ("--expect-version", "never=0", "--expect-exists", "k")):
            self.append(b"y\n", *flags)
        self.assertEqual(self.last(), 6)
        for flags in (("--expect-exists", "never"), ("--expect-version", "k=2"), ("--expect-unchanged", "k=0"),
                      ("--expect-last-sequence", "5"), ("--expect-exists", "k", "--expect-absent", "k")):
            self.append(b"y\n", *flags, code=5)
        self.assertEqual(self.last(), 6)

    def test_all_of_stdin_is_one_batch_or_nothing(self):
        self.append(b"a\nb\nc\n", "--key", "k", "--expect-absent", "k")
        self.append(b"d\ne\n", "--key", "k", "--expect-absent", "k", code=5)
        self.assertEqual(self.payloads(), [b"a", b"b", b"c"])
        done = self.append(b"d\0e", "-z", "--acks", "--durable", "--expect-version", "k=3")
        self.assertEqual((done.json[0]["first_sequence"], done.json[0]["count"], done.json[0]["durable"]), (4, 2, True))

    def test_a_conflict_is_answered_with_acks(self):
        done = self.append(b"a\n", "--acks", "--expect-exists", "k")
        self.assertEqual(done.json, [{"line": 1, "conflict": {"condition": "exists", "key": "k", "version": 0, "sequence": 0,
                                                             "position": "0"}}])

    def test_beyond_the_end(self):
        done = self.append(b"a\n", "--expect-last-sequence", "7", code=3)
        self.assertIn("there is no sequence 7 yet, the last is 0", done.err)

    def test_more_than_a_segment_holds_is_refused_whole(self):
        shutil.rmtree(self.log)
        self.create(None, "--segment-size", "1MiB")
        self.append(b"x" * 400_000 + b"\n" + b"y" * 700_000 + b"\n", "--expect-absent", "k", code=1)
        self.assertEqual(self.payloads(), [])

    def test_wrong_values_are_usage_errors(self):
        for flags in (("--expect-version", "k"), ("--expect-version", "=3"), ("--expect-unchanged", "k=x"),
                      ("--expect-fence", "l"), ("--expect-fence", "l=1"), ("--expect-fence", "=1:1"),
                      ("--expect-fence", "l=1:x"), ("--expect-fence", "l:1=1"), ("--expect-absent", ""), ("--expect-last-sequence", "-1"), ("--jsonl", "--expect-absent", "k")):
            self.append(b"a\n", *flags, code=2)


class Lines(CliTest):
    def setUp(self):
        super().setUp()
        self.create()

    def answers(self, *lines, flags=(), code=0):
        text = "".join(json.dumps(line) + "\n" for line in lines).encode()
        return self.append(text, "--jsonl", "--acks", *flags, code=code).json

    def test_conflicts_do_not_stop_the_stream(self):
        for flags in ((), ("--durable",)):
            key = f"user:ada{flags}"
            record = {"data": "x", "keys": [key], "expect": {"absent": [key]}}
            first, second, third = self.answers(record, record, {"data": "y"}, flags=flags)
            conflict = second["conflict"]
            self.assertEqual((conflict["condition"], conflict["key"], conflict["version"], conflict["sequence"],
                              conflict["position"]), ("absent", key, 1, first["sequence"], first["position"]))
            self.assertEqual(third["sequence"], first["sequence"] + 1)

    def test_every_condition(self):
        expect = {"absent": ["a"], "exists": ["k"], "version": {"k": 1}, "unchanged": {"k": 1}, "last_sequence": 1}
        answers = self.answers({"keys": ["k"]}, {"expect": expect}, {"expect": expect})
        self.assertEqual(answers[1]["sequence"], 2)
        self.assertEqual(answers[2]["conflict"], {"condition": "last_sequence", "sequence": 2})

    def test_no_match(self):
        def expect(*query, after):
            return {"expect": {"no_match": {"query": list(query), "after": after}}}
        both = {"types": [1, 2], "keys": ["course:9", {"base64": "/wE="}]}
        answers = self.answers({"type": 2, "keys": [{"base64": "/wE="}, "course:9"]}, {"type": 1, "keys": ["course:9"]},
                               expect(both, after=0), expect(both, after=1), expect({"types": [1]}, after=1),
                               expect({"keys": ["course:9"]}, after=2), expect(after=3), expect({}, after=4))
        conflicts = [answer["conflict"] for answer in answers if "conflict" in answer]
        self.assertEqual([answer["line"] for answer in answers if "conflict" in answer], [3, 5, 7])
        self.assertEqual(conflicts[0], {"condition": "no_match", "sequence": 1, "position": answers[0]["position"]})
        self.assertEqual([conflict["sequence"] for conflict in conflicts], [1, 2, 4])
        done = self.append(b'{"expect":{"no_match":{"query":[{"types":[1]}],"after":0}}}\n', "--jsonl", code=5)
        self.assertIn("condition no_match does not hold: sequence 2 matches the query", done.err)

    def test_a_query_that_costs_too_much(self):
        ask = {"expect": {"no_match": {"query": [{"types": [2], "keys": ["k"]}], "after": 0}}}
        batch = {"batch": [{"type": 1, "keys": ["k"]}] * 1000}
        answers = self.answers(*[batch] * 10, ask, {"keys": ["k"]}, ask, {"data": "y"})
        self.assertEqual(answers[10]["sequence"], 10001)
        self.assertEqual((answers[12]["error"], answers[12]["sequence"]), ("too_costly", 10002))
        self.assertEqual(answers[13]["sequence"], 10003)

    def test_what_was_removed_may_have_matched(self):
        shutil.rmtree(self.log)
        self.create(None, "--segment-size", "1MiB")
        lines = b"".join(b'{"type":%d,"keys":["k"],"data":"%s"}\n' % (number % 2 + 1, b"x" * 9000)
                         for number in range(1000))
        self.append(lines, "--jsonl")
        self.run_cli("trim", self.log, "--before", "600", "--yes")
        ask = {"expect": {"no_match": {"query": [{"types": [3], "keys": ["k"]}], "after": 10}}}
        answers = self.answers(ask, {"data": "y"})
        self.assertIn(answers[0]["error"], ("gone", "keys_incomplete"))
        self.assertEqual(answers[1]["sequence"], 1001)

    def test_a_batch_has_conditions_beside_it(self):
        batch = {"batch": [{"keys": ["k"]}, {"keys": ["k"]}], "expect": {"absent": ["k"]}}
        first, second = self.answers(batch, batch)
        self.assertEqual((first["first_sequence"], first["count"]), (1, 2))
        self.assertEqual(second["conflict"]["version"], 2)
        self.answers({"batch": [{"expect": {}}]}, code=1)

    def test_a_released_key_is_free_again(self):
        taken = {"keys": ["k"], "expect": {"absent": ["k"]}}
        answers = self.answers(taken, {"release": ["k"], "expect": {"exists": ["k"]}}, taken,
                               {"release": ["k"]}, {"expect": {"exists": ["k"]}})
        self.assertEqual([answer.get("sequence") for answer in answers], [1, 2, 3, 4, None])
        self.assertTrue(answers[4]["conflict"]["released"])

    def test_keys_of_any_bytes(self):
        key = {"base64": "/wE="}
        answers = self.answers({"keys": [key]}, {"expect": {"absent": [key]}})
        self.assertEqual(answers[1]["conflict"]["key"], key)

    def test_beyond_the_end_is_answered_and_the_stream_goes_on(self):
        answers = self.answers({"expect": {"unchanged": {"k": 5}}}, {"data": "x"})
        self.assertEqual(answers[0]["error"], "beyond_end")
        self.assertEqual(answers[1]["sequence"], 1)

    def test_without_acks_a_conflict_ends_it_with_5(self):
        done = self.append(b'{"data":"a"}\n{"expect":{"exists":["k"]}}\n{"data":"b"}\n', "--jsonl", code=5)
        self.assertIn("line 2: conflict", done.err)
        self.assertEqual(self.payloads(), [b"a"])

    def test_a_fence_of_a_lease_that_nobody_holds(self):
        for lease in ("l", {"base64": "AP8="}):
            (answer,) = self.answers({"data": "x", "expect": {"fence": {"lease": lease, "epoch": 1, "sequence": 1}}})
            self.assertEqual(answer["conflict"], {"condition": "fence", "lease": lease, "sequence": 0, "position": "0"})
        done = self.append(b"x\n", "--expect-fence", "a=b=1:1", code=5)
        self.assertIn("condition fence 'a=b' does not hold: nobody holds it", done.err)
        self.assertEqual(self.payloads(), [])

    def test_malformed_conditions(self):
        malformed = ([], {"absent": "k"}, {"absent": [""]}, {"version": ["k"]}, {"version": {"k": "1"}},
                     {"version": {"k": -1}}, {"unchanged": {"": 1}}, {"last_sequence": "1"}, {"absnt": ["k"]},
                     {"no_match": {}}, {"no_match": {"query": []}}, {"no_match": {"after": 0}}, {"no_match": []},
                     {"no_match": {"query": {}, "after": 0}}, {"no_match": {"query": [1], "after": 0}},
                     {"no_match": {"query": [], "after": "0"}}, {"no_match": {"query": [], "after": 0, "x": 0}},
                     {"no_match": {"query": [{"types": 1}], "after": 0}},
                     {"no_match": {"query": [{"types": [-1]}], "after": 0}},
                     {"no_match": {"query": [{"types": [4294967296]}], "after": 0}},
                     {"no_match": {"query": [{"keys": "k"}], "after": 0}},
                     {"no_match": {"query": [{"keys": [""]}], "after": 0}},
                     {"no_match": {"query": [{"keys": ["k", "k"]}], "after": 0}},
                     {"no_match": {"query": [{"type": [1]}], "after": 0}},
                     {"fence": {}}, {"fence": []}, {"fence": {"lease": "l", "epoch": 1}},
                     {"fence": {"lease": "", "epoch": 1, "sequence": 1}},
                     {"fence": {"lease": "l" * 1001, "epoch": 1, "sequence": 1}},
                     {"fence": {"lease": "l", "epoch": "1", "sequence": 1}},
                     {"fence": {"lease": "l", "epoch": 1, "sequence": -1}},
                     {"fence": {"lease": 1, "epoch": 1, "sequence": 1}},
                     {"fence": {"lease": "l", "epoch": 1, "sequence": 1, "ttl": 1}})
        lines = "".join(json.dumps({"expect": expect}) + "\n" for expect in malformed).encode()
        done = self.run_raw("append", self.log, "--jsonl", "--acks", "--skip-invalid", stdin=lines)
        for expect, answer in zip(malformed, done.json, strict=True):
            self.assertEqual(answer.get("error"), "invalid", expect)
        self.answers({"expect": malformed[0]}, code=1)
        self.append(b'{"expect":{"absent":["a"],"absent":["b"]}}\n', "--jsonl", code=1)
        self.append(b'{"expect":{},"expect":{}}\n', "--jsonl", code=1)
        self.append(b'{"expect":{"fence":{"lease":"l","lease":"l","epoch":1,"sequence":1}}}\n', "--jsonl", code=1)
        self.assertEqual(self.payloads(), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
