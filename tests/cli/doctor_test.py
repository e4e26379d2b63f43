"""`tailrace doctor`, in real directories. What it makes of machines that are not at hand: tests/doctor/."""

import errno
import os
import pathlib
import resource
import subprocess
import tempfile
import unittest

from cli import BIN, CliTest, tree

LEVELS = ["ok", "note", "warning", "problem"]
CHECKS = {"directory", "filesystem", "mount_options", "block_device", "quota", "direct_io", "mapping", "free_space",
          "io_uring", "memlock", "file_size_limit", "open_files_limit", "clock_source"}
NOBODY = 65534


class Doctor(CliTest):
    def doctor(self, path, code=None, **options):
        """(findings by check, summary). A check with several findings keeps its worst."""
        done = self.run_raw("doctor", path, "--json", **options)
        self.assertIn(done.code, (0, 6) if code is None else (code,), done.err)
        self.assertEqual(done.err, "")
        *findings, summary = done.json
        self.check_schema(findings, summary, done.code)
        by_check = {}
        for finding in sorted(findings, key=lambda each: LEVELS.index(each["level"])):
            by_check[finding["check"]] = finding
        return by_check, summary

    def check_schema(self, findings, summary, code):
        for finding in [*findings, summary]:
            self.assertEqual(list(finding)[:4], ["check", "level", "found", "fix"])
            self.assertIn(finding["level"], LEVELS)
            self.assertTrue(finding["found"], finding)
            self.assertEqual(finding["fix"] is None, finding["level"] == "ok", finding)
            self.assertNotEqual(finding["fix"], "", finding)
        self.assertEqual(summary["check"], "summary")
        self.assertEqual(list(summary)[4:], ["problems", "warnings", "notes", "oks", "durable"])
        for level in LEVELS:
            self.assertEqual(summary[level + "s"], sum(finding["level"] == level for finding in findings), level)
        self.assertEqual(summary["level"], max((finding["level"] for finding in findings), key=LEVELS.index))
        self.assertEqual(code, 6 if summary["problems"] else 0)
        self.assertLessEqual(CHECKS, {finding["check"] for finding in findings})

    def as_nobody(self):
        if os.geteuid() != 0:
            self.skipTest("needs root, to become somebody else")
        for folder in [pathlib.Path(BIN).parent, *pathlib.Path(BIN).parents]:
            if not folder.stat().st_mode & 0o001:
                self.skipTest(f"nobody cannot reach {BIN}")
        self.folder.chmod(0o755)
        return {"user": NOBODY, "group": NOBODY, "extra_groups": []}

    def test_a_directory_for_a_log(self):
        found, summary = self.doctor(self.folder)
        self.assertEqual(found["directory"]["kind"], "directory")
        self.assertTrue(found["directory"]["writable"])
        self.assertEqual(found["directory"]["mode"], "0700")
        self.assertEqual(found["mapping"]["level"], "ok")
        self.assertEqual(found["free_space"]["needed_bytes"], 3 * (64 << 20))
        self.assertGreater(found["clock_source"]["clock_read_ns"], 0)
        self.assertIn(summary["durable"], ["yes", "no", "unknown"])
        self.assertEqual(found["filesystem"]["durable"], summary["durable"])

    def test_what_the_system_says_is_what_it_says(self):
        found, _ = self.doctor(self.folder)
        where = subprocess.run(["df", "--output=fstype,target", self.folder], capture_output=True, text=True, check=True)
        kind, point = where.stdout.splitlines()[1].split()
        self.assertEqual((found["filesystem"]["type"], found["filesystem"]["mount_point"]), (kind, point))
        status = os.statvfs(self.folder)
        self.assertAlmostEqual(found["free_space"]["free_bytes"], status.f_bavail * status.f_frsize, delta=4 << 30)
        if kind != "ext4":
            self.skipTest(f"{self.folder} lies on {kind}")
        self.assertEqual(found["filesystem"]["level"], "ok")
        self.assertTrue(found["direct_io"]["works"], found["direct_io"])
        self.assertGreater(found["direct_io"]["durable_write_ns"], 0)
        if "direct_io_offset_align_bytes" in found["direct_io"]:
            self.assertIn(found["direct_io"]["direct_io_offset_align_bytes"], [512, 4096])

    def test_a_log(self):
        self.create(self.log, "--segment-size", "1MiB")
        found, _ = self.doctor(self.log)
        self.assertEqual((found["directory"]["kind"], found["directory"]["level"]), ("log", "ok"))
        self.assertEqual(found["directory"]["mode"], "2750")
        self.assertEqual(found["free_space"]["needed_bytes"], 2 << 20)

    def test_a_log_with_a_writer(self):
        self.create()
        writer = self.start("append", self.log, "--acks")
        writer.stdin.write(b"a\n")
        self.next_line(writer)
        self.doctor(self.log)
        writer.stdin.write(b"b\n")
        self.next_line(writer)

    def test_a_log_that_others_may_write_into(self):
        self.create()
        self.log.chmod(0o2770)
        found, _ = self.doctor(self.log)
        self.assertEqual(found["directory"]["level"], "warning")
        self.assertIn(f"chmod g-w,o-w {self.log}", found["directory"]["fix"])

    def test_a_shared_consumers_directory_is_found(self):
        self.create()
        (self.log / "consumers").mkdir(exist_ok=True)
        (self.log / "consumers").chmod(0o3770)
        found, _ = self.doctor(self.log)
        if found["quota"].get("active"):
            self.skipTest("quotas are on here")
        self.assertEqual(found["quota"]["level"], "note")
        self.assertIn("log/consumers", found["quota"]["found"])

    def test_memory_is_not_durable(self):
        if not os.path.ismount("/dev/shm"):
            self.skipTest("no /dev/shm")
        with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
            found, summary = self.doctor(folder, code=0)
            self.assertEqual((found["filesystem"]["type"], found["filesystem"]["level"]), ("tmpfs", "warning"))
            self.assertEqual((found["filesystem"]["durable"], summary["durable"]), ("no", "no"))
            self.assertIn("durable: no", self.run_cli("doctor", folder).out.decode())
            self.assertEqual(os.listdir(folder), [])

    def test_nothing_is_left_behind_and_nothing_changed(self):
        self.create()
        self.append(b"a\nb\n")
        before = tree(self.folder)
        names = {path: path.stat().st_mtime_ns for path in [self.folder, self.log, self.log / "segments"]}
        self.doctor(self.log)
        self.doctor(self.folder)
        self.assertEqual(tree(self.folder), before)
        # Not even for a moment did a file have a name here (where the file system has O_TMPFILE).
        try:
            os.close(os.open(self.folder, os.O_TMPFILE | os.O_RDWR))
        except OSError as error:
            self.assertIn(error.errno, (errno.EOPNOTSUPP, errno.EISDIR))
            return
        self.assertEqual(names, {path: path.stat().st_mtime_ns for path in names})

    def test_another_users_directory(self):
        nobody = self.as_nobody()
        (self.folder / "theirs").mkdir(mode=0o755)
        found, _ = self.doctor("theirs", **nobody)
        self.assertEqual(found["directory"]["level"], "warning")
        self.assertIn("you can make no log there", found["directory"]["found"])
        self.assertIn("tailrace doctor theirs", found["directory"]["fix"])
        for check in ["direct_io", "mapping"]:
            self.assertEqual(found[check]["level"], "note")
            self.assertRegex(found[check]["found"], "^unknown: .*Permission denied")
        self.assertIn("type", found["filesystem"])

    def test_another_users_log(self):
        nobody = self.as_nobody()
        self.create()
        found, _ = self.doctor("log", **nobody)  # 2750: not even to be listed
        self.assertEqual(found["directory"]["level"], "warning")
        self.assertIn("nor see what is in it", found["directory"]["found"])
        self.log.chmod(0o2755)
        found, _ = self.doctor("log", **nobody)
        self.assertEqual((found["directory"]["kind"], found["directory"]["level"]), ("log", "note"))

    def test_a_read_only_mount_is_a_problem(self):
        if os.geteuid() != 0:
            self.skipTest("needs root, to mount")
        (self.folder / "ro").mkdir()
        script = f'mount -t tmpfs -o ro none "{self.folder}/ro" || exit 77; "$1" doctor ro --json'
        done = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", BIN], capture_output=True, cwd=self.folder)
        if done.returncode == 77 or b"unshare" in done.stderr:
            self.skipTest(f"cannot mount: {done.stderr!r}")
        self.assertEqual(done.returncode, 6, done.stderr)
        self.assertIn(b'"check":"mount_options","level":"problem","found":', done.stdout)
        self.assertIn(b"mount -o remount,rw ", done.stdout)
        self.assertIn(b"Read-only file system", done.stdout)

    def test_limits_of_the_process(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
            resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
        found, _ = self.doctor(self.folder, code=6, preexec_fn=limit)
        self.assertEqual((found["file_size_limit"]["level"], found["file_size_limit"]["limit_bytes"]), ("problem", 1 << 20))
        self.assertEqual((found["open_files_limit"]["level"], found["open_files_limit"]["limit_files"]), ("warning", 40))

    def test_no_such_directory(self):
        self.assertIn("no such directory", self.run_cli("doctor", "nowhere", code=3).err)
        self.run_cli("doctor", "nowhere", "--json", code=3)

    def test_a_file_is_no_directory(self):
        (self.folder / "file").write_text("x")
        done = self.run_cli("doctor", "file", code=1)
        self.assertIn("no directory", done.err)
        self.assertEqual(done.out, b"")
        self.run_cli("doctor", "file/below", code=3)

    def test_usage(self):
        for args in [(), ("a", "b"), (".", "--frob")]:
            self.run_cli("doctor", *args, code=2)

    def test_odd_names(self):
        for name in ["my logs", "line\nbreak", "it's", b"\xff\xfe", "-dash"]:
            path = pathlib.Path(os.fsdecode(name))
            (self.folder / path).mkdir()
            self.doctor(self.folder / path)
            text = self.run_cli("doctor", "--", path).out
            self.assertTrue(all(line.split()[0].decode() in [*LEVELS, "fix:"] for line in text.splitlines()[:-1]), text)
        self.assertIn("'./my logs'", self.run_cli("doctor", "./my logs").out.decode())

    def test_for_people(self):
        *findings, summary = self.run_cli("doctor", self.folder).out.decode().splitlines()
        json_findings = self.run_cli("doctor", self.folder, "--json").json[:-1]
        heads = [line.split()[:2] for line in findings if "  fix: " not in line]
        self.assertEqual(heads, [[finding["level"], finding["check"]] for finding in json_findings])
        self.assertEqual(sum("  fix: " in line for line in findings), sum(f["fix"] is not None for f in json_findings))
        self.assertRegex(summary, r"^\d+ problems?, \d+ warnings?, \d+ notes?, \d+ ok; durable: (yes|no|unknown)$")


if __name__ == "__main__":
    unittest.main(verbosity=2)
