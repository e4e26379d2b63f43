"""A user directory: one log, three stores, everything killed at random, and every promise checked all the time.

    commands --(conditional append)--> log --> directory  SQLite, the authoritative store
                                           --> search     SQLite FTS5, gated behind the directory
                                           --> cache      Redis, without persistence
"""

import argparse
import json
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time

from commander import Commander
from probers import CacheProber, OrderProber, SearchProber
from processes import TAILRACE, Process, Supervisor, tailrace, wait_until
from stores import Cache, Log, Table

NAMES = [f"user{n}" for n in range(400)]
CITIES = ["Detroit", "Boston", "Chicago", "Denver", "Seattle", "Austin", "Memphis", "Oslo"]
COLUMNS = {"name": {"value": "/name", "type": "text", "key": True}, "city": {"value": "/city", "type": "text"},
           "seq": {"value": "sequence", "type": "integer"}}
ON = {str(Log.LEAVE): "delete"}


class Scenario:
    def __init__(self, folder, seed, gate):
        self.folder, self.random, self.gate = folder, random.Random(seed), gate
        tailrace(folder, "create", "log", "--segment-size", "4MiB")
        for name, mapping in (("users", {"table": "users", "columns": COLUMNS, "on": ON}),
                              ("search", {"table": "people", "columns": COLUMNS, "on": ON, "full_text": ["city"]})):
            (folder / f"{name}.json").write_text(json.dumps(mapping))
        redis = [shutil.which("redis-server"), "--port", "0", "--unixsocket", folder / "redis.sock", "--save", "",
                 "--dir", folder]
        sink = [TAILRACE, "sink"]
        self.server = Process("server", [TAILRACE, "serve", "log", "--wait", "10s"], folder)
        self.redis = Process("redis", redis, folder)
        self.directory = Process("directory", [*sink, "sqlite", "log", "--database", "users.db", "--mapping",
                                               "users.json", "--name", "directory", "--follow"], folder)
        self.search = Process("search", [*sink, "sqlite", "log", "--database", "search.db", "--mapping", "search.json",
                                         "--name", "search", *(["--after", "directory"] if gate else []),
                                         "--follow"], folder)
        self.cache = Process("cache", [*sink, "redis", "log", "--database", "redis.sock", "--mapping", "users.json",
                                       "--name", "cache", "--follow"], folder)
        self.processes = [self.server, self.redis, self.directory, self.search, self.cache]
        self.supervisor = Supervisor(self.processes)
        self.users, self.people = Table(folder / "users.db", "users"), Table(folder / "search.db", "people")
        self.log = Log(folder)
        self.commanders = [Commander(self.random.random(), folder, NAMES, CITIES) for _ in range(3)]
        probe = (self.random.random(), NAMES, CITIES)
        self.probers = [SearchProber(*probe, self.people, self.users, self.log),
                        CacheProber(*probe, Cache(folder / "redis.sock"), self.users, self.log),
                        OrderProber(*probe, {"directory": self.users, "search": self.people})]
        self.flushes = 0
        self.pauses = 0

    def begin(self):
        self.server.start()
        self.redis.start()
        wait_until("the server", lambda: (self.folder / "log/serve.sock").exists())
        self.directory.start()  # before the search index, which is gated behind it
        wait_until("the directory", lambda: (self.folder / "log/consumers/directory.consumer").exists())
        self.search.start()
        self.cache.start()
        self.supervisor.start()
        for thread in (*self.commanders, *self.probers):
            thread.start()

    def strike(self):
        """One blow."""
        victim = self.random.choice([*self.processes, *self.commanders, "flush", "pause"])
        if victim == "flush":
            try:
                Cache(self.folder / "redis.sock").call("FLUSHALL")
                self.flushes += 1
            except OSError:
                pass
        elif victim == "pause":  # the authoritative store is slow for a while
            self.pauses += 1
            self.directory.send(signal.SIGSTOP)
            time.sleep(0.3)
            self.directory.send(signal.SIGCONT)
        else:
            victim.kill()

    def fire(self, seconds):
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, self.random.random() * 0.5))
            self.strike()
            if sys.stderr.isatty():
                print(f"\r{left:4.0f} s left, record {self.users.stamp()}, "
                      f"{sum(process.kills for process in self.processes)} killed, "
                      f"{sum(prober.checked for prober in self.probers)} checks, "
                      f"{sum(len(prober.violations) for prober in self.probers)} violations ", end="", file=sys.stderr)

    def finish(self):
        """All commands are answered; every store comes to the end of the log."""
        for commander in self.commanders:
            commander.stop()
        end = json.loads(tailrace(self.folder, "info", "log", "--json"))["last_sequence"] or 0
        cache = Cache(self.folder / "redis.sock")
        for what, stamp in (("directory", self.users.stamp), ("search", self.people.stamp), ("cache", cache.stamp)):
            wait_until(f"{what} at {end}", lambda: stamp() >= end)
        for prober in self.probers:
            prober.stop()
        violations = [one for prober in self.probers for one in prober.violations]
        clean = self.log.fold()
        for what, rows in (("directory", self.users.all()), ("search", self.people.all()), ("cache", cache.all())):
            if rows != clean:
                wrong = sorted(name for name in {*rows, *clean} if rows.get(name) != clean.get(name))
                violations.append(f"in the end {what} differs from a clean replay: {wrong[:5]}")
        violations += self.untrue_answers()
        self.supervisor.stop()
        for process in reversed(self.processes):
            process.end()
        tailrace(self.folder, "verify", "log")
        return end, len(clean), violations

    def untrue_answers(self):
        """Who was told that a name is theirs is who has it in the log; and nobody got a name that was taken."""
        violations, told = [], {}
        for commander in self.commanders:
            violations += [f"an answer nobody expects: {error}" for error in commander.errors]
            for sequence, name in commander.created.items():
                if told.setdefault(sequence, name) != name:
                    violations.append(f"record {sequence} was told to two")
        taken = set()
        for record in self.log.records():
            name = json.loads(record["data"])["name"]
            if record["type"] == Log.CREATE and name in taken:
                violations.append(f"record {record['sequence']} creates {name}, who is there")
            taken.discard(name) if record["type"] == Log.LEAVE else taken.add(name)
            if told.pop(record["sequence"], name) != name:
                violations.append(f"record {record['sequence']} is of {name}, and somebody else was told it was theirs")
        return violations + [f"{name} was told to be created by record {sequence}, which is not there"
                             for sequence, name in told.items()]

    def table(self, end, users, violations):
        answers = {key: sum(commander.answers[key] for commander in self.commanders)
                   for key in self.commanders[0].answers}
        kills = {process.name: process.kills for process in self.processes}
        kills["commanders"] = sum(commander.kills for commander in self.commanders)
        lines = [("records in the log", end), ("users in the end", users)]
        lines += [(f"commands: {what}", count) for what, count in answers.items()]
        lines += [(f"killed -9: {what}", count) for what, count in kills.items()]
        lines += [("Redis flushed", self.flushes), ("directory held up", self.pauses)]
        lines += [(f"checked: {prober.NAME}", prober.checked) for prober in self.probers]
        lines += [("cache too old or lost, noticed", self.probers[1].noticed), ("violations", len(violations))]
        width = max(len(what) for what, _ in lines)
        return "\n".join(f"{what:{width}}  {count:>9}" for what, count in lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    parser.add_argument("--without-gate", action="store_true", help="the search index may run ahead: see it be noticed")
    parser.add_argument("--keep", action="store_true", help="leaves the directory with all stores and logs")
    options = parser.parse_args()
    if not shutil.which("redis-server"):
        print("scenario: redis-server is missing: apt-get install redis-server", file=sys.stderr)
        return 1
    print(f"seed {options.seed}")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tailrace-scenario-"))
    scenario = Scenario(folder, options.seed, gate=not options.without_gate)
    try:
        scenario.begin()
        scenario.fire(options.seconds)
        end, users, violations = scenario.finish()
    finally:
        scenario.supervisor.over.set()
        for process in scenario.processes:
            process.send(signal.SIGCONT)
            process.end(signal.SIGKILL)
        if options.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    print(scenario.table(end, users, violations))
    for violation in violations[:10]:
        print(violation, file=sys.stderr)
    return 6 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
