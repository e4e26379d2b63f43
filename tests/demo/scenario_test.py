# labels: slow
"""The scenario of docs/event-sourcing.md, short: nothing is violated; and without the gate the prober notices."""

import os
import pathlib
import subprocess
import sys
import unittest

SCENARIO = pathlib.Path(os.environ["TAILRACE_SOURCE_DIR"]) / "tools/scenario/scenario.py"
SECONDS = 90 if os.environ.get("TAILRACE_LONG") else 8


class Scenario(unittest.TestCase):
    def run_scenario(self, *flags):
        done = subprocess.run([sys.executable, SCENARIO, *flags], capture_output=True, text=True, timeout=400)
        print(done.stdout, done.stderr, flush=True)
        if "redis-server is missing" in done.stderr:
            self.skipTest("redis-server is not installed")
        return done

    def test_nothing_is_violated(self):
        done = self.run_scenario("--seconds", str(SECONDS))
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout, r"violations +0\n")

    def test_a_missing_gate_is_noticed(self):
        done = self.run_scenario("--seconds", "6", "--without-gate")
        self.assertEqual(done.returncode, 6)
        self.assertIn("search hits that dangle", done.stderr)


if __name__ == "__main__":
    unittest.main()
