"""Help, versions, and what is not understood."""

import subprocess
import unittest

from cli import BIN, CliTest


class Usage(CliTest):
    def test_help_everywhere_with_examples_on_stdout(self):
        for command in [(), ("create",), ("append",), ("read",), ("info",), ("verify",), ("consumers",), ("doctor",)]:
            for flag in ["--help", "-h"]:
                out = self.run_cli(*command, flag).out.decode()
                self.assertIn("Usage: tailrace", out)
                self.assertIn("Examples:", out)
                self.assertLess(max(map(len, out.splitlines())), 120)

    def test_version(self):
        self.assertRegex(self.run_cli("--version").out.decode(), r"^tailrace \d+\.\d+\.\d+\n$")

    def test_usage_errors_exit_2_and_print_nothing_on_stdout(self):
        for args in [(), ("frobnicate",), ("--frobnicate",), ("read",), ("read", "a", "b"), ("read", "a", "--frob"),
                     ("create",), ("append",), ("info",), ("verify",), ("doctor",), ("read", "a", "--from"), ("read", "a", "-n", "1", "-n", "2"),
                     ("append", "a", "--expect-absent"), ("append", "a", "--event-id", "x"), ("",)]:
            done = self.run_raw(*args)
            self.assertEqual((done.code, done.out), (2, b""), args)
            self.assertTrue(done.err, args)

    def test_an_unknown_command_is_named(self):
        self.assertIn("unknown command 'frobnicate'", self.run_cli("frobnicate", code=2).err)

    def test_an_error_is_one_line_whatever_the_name(self):
        err = self.run_cli("read", "no\nsuch\x1b[31mlog", code=3).err
        self.assertEqual(err.count("\n"), 1)
        self.assertNotIn("\x1b", err)

    def test_errors_with_stderr_closed(self):
        self.assertEqual(subprocess.run(f'"{BIN}" read /none 2>&-', shell=True).returncode, 3)


if __name__ == "__main__":
    unittest.main(verbosity=2)
