"""Those who want something of the directory: conditions decide what they get."""

import json
import random
import subprocess
import threading
import uuid

from processes import TAILRACE
from stores import Log


class Commander(threading.Thread):
    """Sends commands through `tailrace append`, one process after the other, and sends what got no answer again, under
    the same event id."""

    def __init__(self, seed, folder, names, cities):
        super().__init__(daemon=True)
        self.random, self.folder, self.names, self.cities = random.Random(seed), folder, names, cities
        self.over = threading.Event()
        self.process = None
        self.kills = 0
        self.created = {}  # sequence -> name: told "it is yours"
        self.answers = {"created": 0, "taken": 0, "changed": 0, "refused": 0, "sent again": 0}
        self.errors = []

    def command(self):
        name, city = self.random.choice(self.names), self.random.choice(self.cities)
        kind = self.random.choices((Log.CREATE, Log.MOVE, Log.LEAVE), (5, 4, 1))[0]
        line = {"type": kind, "data": json.dumps({"name": name, "city": city}), "event_id": uuid.UUID(
            int=self.random.getrandbits(128)).hex}
        key = f"user:{name}"
        line["release" if kind == Log.LEAVE else "keys"] = [key]
        line["expect"] = {"absent" if kind == Log.CREATE else "exists": [key]}
        return kind, name, line

    def run(self):
        waiting = None  # a command that got no answer
        while not self.over.is_set():
            with open(self.folder / "commanders.log", "ab") as log:
                self.process = subprocess.Popen([TAILRACE, "append", "log", "--jsonl", "--acks", "--durable"],
                                                cwd=self.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                                stderr=log, text=True)
            try:
                while not self.over.is_set():
                    if waiting is None:
                        waiting = self.command()
                    else:
                        self.answers["sent again"] += 1
                    self.process.stdin.write(json.dumps(waiting[2]) + "\n")
                    self.process.stdin.flush()
                    answer = self.process.stdout.readline()
                    if not answer.endswith("\n"):
                        break  # it was killed, or ended
                    if "unknown" in (said := json.loads(answer)):
                        break
                    self.take(waiting, said)
                    waiting = None
            except (OSError, ValueError):
                pass
            self.process.kill()
            self.process.communicate()

    def take(self, command, answer):
        kind, name, _ = command
        if "conflict" in answer:
            self.answers["taken" if kind == Log.CREATE else "refused"] += 1
        elif "sequence" in answer:
            self.answers["created" if kind == Log.CREATE else "changed"] += 1
            if kind == Log.CREATE:
                self.created[answer["sequence"]] = name
        else:
            self.errors.append(json.dumps(answer))

    def kill(self):
        process = self.process
        if process and process.poll() is None:
            self.kills += 1
            process.kill()

    def stop(self):
        self.over.set()
        self.join(30)
        if self.is_alive():
            self.process.kill()
            self.join()


