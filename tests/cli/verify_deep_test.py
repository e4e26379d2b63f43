"""`tailrace verify --deep`: what the page cache hides."""

import array
import fcntl
import os
import subprocess
import unittest

from cli import CliTest, patch, segments

FIBMAP = 1
BLOCK = 4096


def quiet(*command):
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


class Deep(CliTest):
    def test_a_whole_log_is_ok(self):
        self.create()
        self.append(b"a\nb")
        [verdict] = self.run_cli("verify", self.log, "--deep", "--json").json
        self.assertEqual((verdict["verdict"], verdict["records"]), ("ok", 2))
        self.assertNotIn("journal", verdict)

    def test_under_a_live_writer_with_commits_under_way(self):
        self.create(self.log, "--segment-size", "1MiB", "--journal-size", "256KiB")
        writer = self.start("append", self.log, "--acks", "--durable")
        for i in range(200):
            writer.stdin.write(b"%05d" % i * 2000 + b"\n")
            self.next_line(writer)
            if i % 20 == 19:
                [verdict] = self.run_cli("verify", self.log, "--deep", "--json").json
                self.assertGreater(verdict["records"], i)

    def test_a_live_writers_journal_must_hold_what_was_acknowledged(self):
        self.create()
        writer = self.start("append", self.log, "--acks", "--durable")
        for _ in range(3):
            writer.stdin.write(b"a\n")
            self.next_line(writer)
        patch(self.log / "journal", 2 * BLOCK + 200, b"damage")  # in the first entry
        self.run_cli("verify", self.log)
        [verdict] = self.run_cli("verify", self.log, "--deep", "--json", code=4).json
        self.assertEqual((verdict["verdict"], verdict["file"]), ("corrupt", "journal"))

    def test_a_disk_that_differs_from_the_page_cache(self):
        if os.geteuid() != 0:
            self.skipTest("needs root for a loop mount")
        image, disk = self.folder / "image", self.folder / "disk"
        disk.mkdir()
        with open(image, "wb") as file:
            file.truncate(64 << 20)
        if not (quiet("mkfs.ext4", "-q", "-F", "-b", str(BLOCK), str(image)) and quiet("mount", "-o", "loop", str(image), str(disk))):
            self.skipTest("no loop mounts here")
        self.addCleanup(quiet, "umount", "-l", str(disk))
        log = disk / "log"
        self.run_cli("create", log, "--segment-size", "1MiB")
        self.run_cli("append", log, stdin=b"\n".join(b"%04d" % i * 500 for i in range(400)))
        self.run_cli("verify", log, "--deep")
        os.sync()
        segment = segments(log)[0]
        block = array.array("i", [50])
        with open(segment, "rb") as file:
            fcntl.ioctl(file, FIBMAP, block)
        patch(image, block[0] * BLOCK + 100, b"rot")
        self.run_cli("verify", log)  # the page cache still has it right
        [verdict] = self.run_cli("verify", log, "--deep", "--json", code=4).json
        self.assertEqual((verdict["verdict"], verdict["file"]), ("corrupt", f"segments/{segment.name}"))
        self.assertLessEqual(verdict["offset"], 50 * BLOCK + 100)
        self.assertGreater(verdict["offset"], 50 * BLOCK - 2100)


if __name__ == "__main__":
    unittest.main(verbosity=2)
