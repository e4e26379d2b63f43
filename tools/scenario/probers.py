"""Those who look all the time whether a promise is broken."""

import random
import sqlite3
import threading
import time
import traceback


class Prober(threading.Thread):
    NAME = ""

    def __init__(self, seed, names, cities):
        super().__init__(daemon=True)
        self.random, self.names, self.cities = random.Random(seed), names, cities
        self.over = threading.Event()
        self.checked = 0
        self.away = 0  # a store could not be asked
        self.violations = []

    def run(self):
        while not self.over.is_set():
            try:
                self.probe()
            except (OSError, sqlite3.OperationalError):
                self.away += 1
                time.sleep(0.01)
            except Exception:  # a prober that has died would find nothing
                self.violations.append(traceback.format_exc())
                return

    def stop(self):
        self.over.set()
        self.join()

    def broken(self, what):
        self.violations.append(f"{self.NAME}: {what}")


class SearchProber(Prober):
    """Every search hit exists in the authoritative store: the index never runs ahead of it."""
    NAME = "search hits that dangle"

    def __init__(self, seed, names, cities, search, users, log):
        super().__init__(seed, names, cities)
        self.search, self.users, self.log = search, users, log

    def probe(self):
        _, hits = self.search.search(self.random.choice(self.cities))
        for name, seq in self.random.sample(hits, min(len(hits), 20)):
            stamp, row = self.users.user(name)
            self.checked += 1
            if stamp < seq:
                self.broken(f"{name} of record {seq} is found, and the authoritative store is at {stamp}")
            elif row and row[1] < seq:
                self.broken(f"{name} is found as of record {seq}, and the authoritative store has {row[1]}")
            elif not row and self.log.last_change(name) <= seq:
                self.broken(f"{name} of record {seq} is found, and is not in the authoritative store")


class CacheProber(Prober):
    """What the cache says is believed only as of its stamp; else the authoritative store answers."""
    NAME = "stale cache entries believed"

    def __init__(self, seed, names, cities, cache, users, log):
        super().__init__(seed, names, cities)
        self.cache, self.users, self.log = cache, users, log
        self.noticed = 0  # too old or lost, and answered by the authoritative store

    def probe(self):
        name = self.random.choice(self.names)
        needed, row = self.users.user(name)  # "I have seen record `needed`"
        stamp, cached = self.cache.user(name)
        if stamp < needed:
            self.noticed += 1
            return
        self.checked += 1
        if cached and row and cached[1] < row[1]:
            self.broken(f"{name}: the cache at {stamp} has record {cached[1]}, not {row[1]}")
        elif cached and row and cached[1] == row[1] and cached != row:
            self.broken(f"{name}: {cached} in the cache, {row} in the authoritative store")
        elif cached and not row and cached[1] <= needed:
            self.broken(f"{name}: the cache at {stamp} has record {cached[1]} of somebody who is not there at {needed}")
        elif row and not cached and self.log.last_change(name) <= row[1]:
            self.broken(f"{name}: the cache at {stamp} has nothing, and record {row[1]} is there")


class OrderProber(Prober):
    """Nobody sees another order: a store never goes back, nor any row of it."""
    NAME = "steps back in time"

    def __init__(self, seed, names, cities, tables):
        super().__init__(seed, names, cities)
        self.tables = tables
        self.seen = {}

    def probe(self):
        for label, table in self.tables.items():
            name = self.random.choice(self.names)
            stamp, row = table.user(name)
            self.checked += 1
            for what, now in ((label, stamp), ((label, name), row[1] if row else 0)):
                if now < self.seen.get(what, 0) and now:
                    self.broken(f"{what}: {now} after {self.seen[what]}")
                self.seen[what] = max(now, self.seen.get(what, 0))
