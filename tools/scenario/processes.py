"""Processes that are killed at random and started again."""

import os
import signal
import subprocess
import threading
import time

TAILRACE = os.environ["TAILRACE_BIN"]


class Process:
    """A command that shall always run. Whoever kills it does so by kill(); keep() starts it again."""

    def __init__(self, name, command, folder, before_start=None):
        self.name, self.command, self.folder, self.before_start = name, command, folder, before_start
        self.kills = 0
        self.process = None

    def start(self):
        if self.before_start:
            self.before_start()
        with open(self.folder / f"{self.name}.log", "ab") as log:
            self.process = subprocess.Popen(list(map(str, self.command)), cwd=self.folder, stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, start_new_session=True)

    def keep(self):
        if self.process is None or self.process.poll() is not None:
            self.start()

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def send(self, number):
        if self.alive():
            os.killpg(self.process.pid, number)

    def kill(self):
        if self.alive():
            self.kills += 1
            self.send(signal.SIGKILL)

    def end(self, number=signal.SIGTERM, patience=20):
        """In order, as an operator would."""
        if self.process is None:
            return
        self.send(number)
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGKILL)
            self.process.wait()


class Supervisor(threading.Thread):
    """Starts what is not running."""

    def __init__(self, processes):
        super().__init__(daemon=True)
        self.processes, self.over = processes, threading.Event()

    def run(self):
        while not self.over.wait(0.05):
            for process in self.processes:
                process.keep()

    def stop(self):
        self.over.set()
        self.join()


def tailrace(folder, *args, text=None, check=True):
    """A command to its end: what it printed."""
    done = subprocess.run([TAILRACE, *map(str, args)], cwd=folder, input=text, capture_output=True, text=True)
    if check and done.returncode != 0:
        raise RuntimeError(f"tailrace {args}: {done.stderr}")
    return done.stdout


def wait_until(what, true, patience=60):
    until = time.monotonic() + patience
    while not true():
        if time.monotonic() > until:
            raise RuntimeError(f"waited in vain: {what}")
        time.sleep(0.02)
