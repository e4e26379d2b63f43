"""`tailrace append`: framing, types, keys, malformed input, limits, signals."""

import os
import signal
import struct
import subprocess
import time
import unittest

from cli import BIN, CliTest

MIB = 1 << 20


class Framing(CliTest):
    def setUp(self):
        super().setUp()
        self.create()

    def test_a_line_is_a_record_without_its_newline(self):
        self.append(b"one\ntwo\n")
        self.assertEqual(self.payloads(), [b"one", b"two"])

    def test_the_last_line_counts_without_newline(self):
        self.append(b"one\ntwo")
        self.assertEqual(self.payloads(), [b"one", b"two"])

    def test_an_empty_line_is_an_empty_record(self):
        self.append(b"\n\na\n")
        self.assertEqual(self.payloads(), [b"", b"", b"a"])

    def test_no_input_is_no_record(self):
        self.append(b"")
        self.assertEqual(self.payloads(), [])

    def test_carriage_returns_stay(self):
        self.append(b"a\r\n")
        self.assertEqual(self.payloads(), [b"a\r"])

    def test_z_takes_nul_separated_records(self):
        self.append(b"a\nb\0\0c", "-z")
        self.assertEqual(self.payloads(), [b"a\nb", b"", b"c"])

    def test_length_prefix_takes_any_bytes(self):
        payloads = [b"", b"\n\n", bytes(range(1, 256)), b"x" * 300_000]
        self.append(b"".join(struct.pack("<I", len(each)) + each for each in payloads), "--length-prefix")
        self.assertEqual(self.payloads(), payloads)

    def test_length_prefix_cut_short_keeps_what_came_before(self):
        for cut in [b"\x05", b"\x05\0\0\0", b"\x05\0\0\0abcd"]:
            done = self.append(b"\x01\0\0\0a" + cut, "--length-prefix", code=1)
            self.assertIn("record 2", done.err)
        self.assertEqual(self.payloads(), [b"a"] * 3)

    def test_lines_longer_than_any_buffer(self):
        payloads = [b"a" * (3 * MIB), b"b" * (20 * MIB), b"c"]
        self.append(b"\n".join(payloads))
        self.assertEqual(self.payloads(), payloads)

    def test_many_lines_keep_their_order(self):
        lines = [b"%d" % number for number in range(200_000)]
        self.append(b"\n".join(lines))
        self.assertEqual(self.payloads(), lines)

    def test_framings_exclude_each_other(self):
        for flags in [("-z", "--jsonl"), ("-z", "--length-prefix"), ("--jsonl", "--length-prefix")]:
            self.append(b"", *flags, code=2)

    def test_prints_nothing_without_acks(self):
        self.assertEqual(self.append(b"a\nb\n", "--durable").out, b"")


class TypesAndKeys(CliTest):
    def setUp(self):
        super().setUp()
        self.create()

    def test_type(self):
        self.append(b"a")
        self.append(b"b", "--type", "4294967295")
        self.assertEqual([record["type"] for record in self.records()], [0, 4294967295])

    def test_type_that_is_no_u32_is_a_usage_error(self):
        for bad in ["4294967296", "-1", "x", "", "1.5"]:
            self.append(b"a", "--type", bad, code=2)

    def test_keys_are_taken_as_they_are_and_once_each(self):
        self.append(b"a", "--key", "user:alice", "--key", "{}", "--key", "[a,b]", "--key", "user:alice", "--key=-x")
        self.assertEqual(self.records()[0]["keys"], ["user:alice", "{}", "[a,b]", "-x"])

    def test_a_key_may_be_bytes(self):
        process = subprocess.run([BIN, "append", self.log, "--key", b"\xff\x01"], input=b"a", check=True)
        self.assertEqual(process.returncode, 0)
        self.assertEqual(self.records()[0]["keys"], [{"base64": "/wE="}])

    def test_an_empty_or_too_long_key_is_a_usage_error(self):
        self.append(b"a", "--key", "", code=2)
        self.append(b"a", "--key", "k" * 65536, code=2)
        self.append(b"a", "--key", "k" * 65535)
        self.assertEqual(self.records()[0]["keys"], ["k" * 65535])

    def test_key_field_takes_strings_numbers_and_bools(self):
        self.append(b'{"k":"DTW"}\n{"k":17}\n{"k":-3}\n{"k":2.5}\n{"k":true}\n{"k":"a\\u0000b"}\n{"x":{"k":1},"k":"y"}',
                    "--key-field", "k")
        self.assertEqual([record["keys"] for record in self.records()],
                         [["DTW"], ["17"], ["-3"], ["2.5"], ["true"], ["a\0b"], ["y"]])

    def test_key_field_beside_key(self):
        self.append(b'{"o":"DTW","d":"LAS"}', "--key-field", "o", "--key-field", "d", "--key", "flight", "--key", "LAS")
        self.assertEqual(sorted(self.records()[0]["keys"]), ["DTW", "LAS", "flight"])

    def test_key_field_that_fails_names_the_line_and_keeps_what_came_before(self):
        for bad, why in [(b'{"x":1}', 'no field "k"'), (b"[1]", "not a JSON object"), (b"{", "JSON"), (b"", "blank"),
                         (b'{"k":null}', "neither"), (b'{"k":{}}', "neither"), (b'{"k":""}', "empty"),
                         (b'{"k":"\\u0000"}', "engine"), (b'{"k":"' + b"k" * 65536 + b'"}', "65536"),
                         (b'{"k":"a"} {"k":"b"}', "JSON"), (b'{"k":"\xff"}', "UTF-8")]:
            done = self.append(b'{"k":"good"}\n' + bad + b'\n{"k":"later"}', "--key-field", "k", code=1)
            self.assertIn("line 2", done.err)
            self.assertIn(why, done.err)
        self.assertEqual({record["keys"][0] for record in self.records()}, {"good"})


class Jsonl(CliTest):
    def setUp(self):
        super().setUp()
        self.create()

    def test_defaults_and_ignored_fields(self):
        self.append_jsonl({}, {"sequence": 99, "epoch": 9, "position": "7", "timestamp_ns": "5", "size": 4, "data": "x"})
        first, second = self.records()
        self.assertEqual((first["type"], first["keys"], first["data"], first["size"]), (0, [], "", 0))
        self.assertEqual((second["sequence"], second["data"]), (2, "x"))
        self.assertGreater(int(second["timestamp_ns"]), 10**18)

    def test_a_batch_is_appended(self):
        self.append_jsonl({"batch": [{"data": "a", "type": 1}, {"data": "b", "keys": ["k"]}, {}]})
        self.assertEqual([record["data"] for record in self.records()], ["a", "b", ""])

    def test_a_bad_element_spoils_its_whole_batch_and_only_that(self):
        done = self.append(b'{"data":"a"}\n{"batch":[{"data":"b"},{"datum":"c"}]}\n{"data":"d"}', "--jsonl", code=1)
        self.assertIn("line 2: record 2 of the batch", done.err)
        self.assertEqual(self.payloads(), [b"a"])

    def test_malformed_lines(self):
        bad = [b"", b"  ", b"{", b"[]", b"1", b'"x"', b"null", b"{} {}", b'{"data":"x"}x', b'{"what":1}', b'{"data":1}',
               b'{"data":null}', b'{"type":"1"}', b'{"type":-1}', b'{"type":4294967296}', b'{"type":1.0}', b'{"keys":"k"}',
               b'{"keys":[1]}', b'{"keys":[""]}', b'{"keys":[{"base64":"x"}]}', b'{"keys":[{"base64":"eA==","x":1}]}',
               b'{"keys":["a","a"]}', b'{"keys":["\\u0000a"]}', b'{"encoding":"hex","data":"00"}', b'{"encoding":1}',
               b'{"encoding":"base64","data":"a"}', b'{"encoding":"base64","data":"aa=a"}',
               b'{"encoding":"base64","data":"ab=="}', b'{"encoding":"base64","data":"a b="}',
               b'{"data":"a","data":"b"}', b'{"data":"\xff"}', b'{"data":"\\ud800"}', b'{"data":"\n"}',
               b'{"batch":[]}', b'{"batch":{}}', b'{"batch":[1]}', b'{"batch":[{}],"type":1}', b'{"batch":[{"batch":[{}]}]}',
               b'{"batch":[{}],"batch":[{}]}']
        for line in bad:
            if b"\n" in line:
                continue
            done = self.append(b'{"data":"before"}\n' + line + b'\n{"data":"after"}\n', "--jsonl", code=1)
            self.assertIn("stdin, line 2: ", done.err, line)
        self.assertEqual(set(self.payloads()), {b"before"})

    def test_invalid_json_names_the_byte(self):
        self.assertRegex(self.append(b'{"data":"x" "y"}', "--jsonl", code=1).err, "line 1: invalid JSON at byte 1[0-9]")

    def test_releases_make_the_round_trip(self):
        lines = b'{"data":"a","keys":["x"],"release":["y",{"base64":"/wE="}]}\n{"release":["x"]}\n{"batch":[{"release":["z"]}]}\n'
        self.append(lines, "--jsonl")
        shown = self.records()
        self.assertEqual([(record["keys"], record.get("release")) for record in shown],
                         [(["x"], ["y", {"base64": "/wE="}]), ([], ["x"]), ([], ["z"])])
        self.assertIn('"release" must be an array', self.append(b'{"release":"x"}', "--jsonl", code=1).err)
        self.append(b'{"release":["x"],"keys":["x"]}', "--jsonl", code=1)

    def test_skip_invalid_counts_and_goes_on(self):
        done = self.run_raw("append", self.log, "--jsonl", "--skip-invalid", stdin=b'{"data":"a"}\n{\n\n{"data":"b"}\n')
        self.assertEqual(done.code, 0)
        self.assertIn("skipped: 2; the first is stdin, line 2", done.err)
        self.assertEqual(self.payloads(), [b"a", b"b"])

    def test_keys_up_to_255(self):
        self.append_jsonl({"keys": [f"k{number}" for number in range(255)]})
        self.assertEqual(len(self.records()[0]["keys"]), 255)
        self.assertIn("256 keys", self.append(b'{"keys":[%s]}' % b",".join(b'"%d"' % n for n in range(256)), "--jsonl",
                                              code=1).err)

    def test_keep_time_takes_timestamps_where_they_do_not_fall(self):
        self.append_jsonl({"timestamp_ns": "1000000000"}, {"timestamp_ns": "3000000000"}, {"timestamp_ns": 2000000000},
                          {"timestamp_ns": 4000000000}, flags=["--keep-time"])
        self.assertEqual([int(record["timestamp_ns"]) for record in self.records()],
                         [10**9, 3 * 10**9, 3 * 10**9, 4 * 10**9])

    def test_keep_time_refuses_what_is_no_time(self):
        for bad in [b'"x"', b"0", b"-5", b'"-5"', b"1.5", b"null", b'"9223372036854775808"']:
            self.append(b'{"timestamp_ns":%s}' % bad, "--jsonl", "--keep-time", code=1)

    def test_flags_for_plain_payloads_do_not_go_with_jsonl(self):
        for flags in [("--type", "1"), ("--key", "k"), ("--key-field", "k")]:
            self.append(b"", "--jsonl", *flags, code=2)
        self.append(b"", "--keep-time", code=2)


class Limits(CliTest):
    def setUp(self):
        super().setUp()
        self.create(self.log, "--segment-size", "1MiB")

    def test_the_largest_record_fits_and_one_byte_more_does_not(self):
        # A segment without its header, an epoch frame and a frame header: found by trying, not by arithmetic.
        low, high = 900_000, MIB
        while high - low > 1:
            middle = (low + high) // 2
            done = self.run_raw("append", self.log, stdin=b"x" * middle)
            self.assertIn(done.code, (0, 1), done.err)
            low, high = (middle, high) if done.code == 0 else (low, middle)
        self.assertGreater(low, MIB - 8192)
        self.assertEqual(max(len(payload) for payload in self.payloads()), low)
        self.assertEqual(self.run_cli("verify", self.log).code, 0)

    def test_a_record_over_the_limit_stops_the_stream_and_keeps_what_came_before(self):
        for flags, big in [((), b"x" * (2 * MIB)), (("-z",), b"x" * (2 * MIB)),
                           (("--jsonl",), b'{"data":"%s"}' % (b"x" * (2 * MIB))),
                           (("--jsonl",), b'{"data":"%s"}' % (b"x" * (20 * MIB)))]:
            separator = b"\0" if flags == ("-z",) else b"\n"
            small = b'{"data":"small"}' if flags == ("--jsonl",) else b"small"
            done = self.append(separator.join([small, big, small]), *flags, code=1)
            self.assertIn("record 2" if flags == ("-z",) else "line 2", done.err)
        self.append(struct.pack("<I", 5) + b"small" + struct.pack("<I", 0xFFFFFFFF), "--length-prefix", code=1)
        self.assertEqual(self.payloads(), [b"small"] * 5)

    def test_a_batch_over_the_limit_leaves_nothing(self):
        self.append_jsonl({"data": "before"})
        batch = b'{"batch":[%s]}' % b",".join([b'{"data":"%s"}' % (b"x" * 600_000)] * 2)
        self.assertIn("line 1", self.append(batch, "--jsonl", code=1).err)
        self.assertEqual(self.payloads(), [b"before"])

    def test_an_endless_line_is_refused_without_being_kept(self):
        process = self.start("append", self.log)
        try:
            for _ in range(64):
                process.stdin.write(b"x" * MIB)
        except BrokenPipeError:
            pass
        self.expect_exit(process, 1)
        self.assertIn(b"line 1: a record of more than", process.stderr.read())


class Signals(CliTest):
    def setUp(self):
        super().setUp()
        self.create()

    def test_an_interrupt_keeps_what_was_read_and_ends_cleanly(self):
        for number, stop in enumerate([signal.SIGINT, signal.SIGTERM], 1):
            process = self.start("append", self.log)
            process.stdin.write(b"whole\nhal")
            self.wait_until("the line", lambda: len(self.payloads()) == number)
            process.send_signal(stop)
            self.expect_exit(process, 130)
            self.assertIn(b"its 3 bytes were not appended", process.stderr.read())
        self.assertEqual(self.payloads(), [b"whole", b"whole"])
        self.assertEqual(self.info()["durable_sequence"], 2)

    def test_an_interrupt_while_nobody_reads_the_answers(self):
        process = self.start("append", self.log, "--acks")
        os.set_blocking(process.stdin.fileno(), False)
        stalled = time.monotonic()
        while time.monotonic() - stalled < 0.3:
            try:
                if process.stdin.write(b"x\n" * 4096):
                    stalled = time.monotonic()
            except BlockingIOError:
                pass
            time.sleep(0.001)
        self.interrupt(process)

    def test_stdin_that_is_closed_or_a_directory_is_an_error(self):
        for redirect in ["<&-", "< ."]:
            done = subprocess.run(f'"{BIN}" append "{self.log}" {redirect}', shell=True, capture_output=True)
            self.assertEqual(done.returncode, 1)
            self.assertIn(b"stdin: ", done.stderr)

    def test_closed_standard_streams_never_become_files_of_the_log(self):
        done = subprocess.run(f'echo a | "{BIN}" append "{self.log}" --acks >&-', shell=True, capture_output=True)
        self.assertEqual(done.returncode, 1)
        subprocess.run(f'echo b | "{BIN}" append "{self.log}" >&- 2>&-', shell=True, check=True)
        self.assertEqual(self.payloads(), [b"a", b"b"])
        self.run_cli("verify", self.log)


if __name__ == "__main__":
    unittest.main(verbosity=2)
