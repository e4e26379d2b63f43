"""What an application reads: the authoritative store, the search index, the cache, and the log itself."""

import json
import socket
import sqlite3

from processes import tailrace


class Table:
    """A table of users that a sink fills: rows, and as of which record."""

    def __init__(self, path, table):
        self.path, self.table = path, table

    def ask(self, question, *values):
        """(stamp, rows) of one moment."""
        database = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=20, isolation_level=None)
        try:
            database.execute("BEGIN")
            stamp = database.execute("SELECT sequence FROM tailrace_sinks WHERE table_name = ?", (self.table,)).fetchone()
            return (stamp or [0])[0], database.execute(question, values).fetchall()
        finally:
            database.close()

    def user(self, name):
        """(stamp, (city, seq) or None)."""
        stamp, rows = self.ask(f"SELECT city, seq FROM {self.table} WHERE name = ?", name)
        return stamp, rows[0] if rows else None

    def search(self, word):
        """(stamp, [(name, seq)]): those whose city has that word."""
        return self.ask(f"SELECT name, seq FROM {self.table} t JOIN {self.table}_search s ON s.rowid = t.tailrace_rowid "
                        f"WHERE {self.table}_search MATCH ?", word)

    def all(self):
        return {name: (city, seq) for name, city, seq in self.ask(f"SELECT name, city, seq FROM {self.table}")[1]}

    def stamp(self):
        try:
            return self.ask("SELECT 1")[0]
        except sqlite3.OperationalError:
            return 0


class Cache:
    """Redis, spoken to in its own protocol."""

    PLACE = 40  # digits before each value: epoch and sequence of the record it comes from

    def __init__(self, path):
        self.path = path
        self.connection = None

    def call(self, *words):
        """Raises OSError while Redis is away."""
        try:
            if self.connection is None:
                plain = socket.socket(socket.AF_UNIX)
                plain.settimeout(10)
                plain.connect(str(self.path))
                self.connection = plain.makefile("rwb")
            encoded = [str(word).encode() for word in words]
            self.connection.write(b"*%d\r\n" % len(encoded) +
                                  b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded))
            self.connection.flush()
            return self.read()
        except (OSError, ValueError) as error:
            self.connection = None
            raise OSError(str(error)) from error

    def read(self):
        line = self.connection.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"$":
            return None if int(rest) < 0 else self.connection.read(int(rest) + 2)[:-2].decode()
        if kind == b"*":
            return [self.read() for _ in range(int(rest))]
        if kind in (b"+", b":"):
            return rest.decode()
        raise OSError(f"Redis said {line!r}")

    def user(self, name):
        """(stamp, (city, seq) or None) of one moment; stamp 0: Redis has forgotten."""
        value, stamp = self.call("MGET", f"users:{name}", "users:tailrace:stamp")
        row = json.loads(value[self.PLACE:]) if value and len(value) > self.PLACE else None
        return int(stamp[20:self.PLACE]) if stamp else 0, (row["city"], row["seq"]) if row else None

    def all(self):
        rows = {}
        for key in self.call("KEYS", "users:*"):
            value = None if key.startswith("users:tailrace:") else self.call("GET", key)
            if value and len(value) > self.PLACE:
                row = json.loads(value[self.PLACE:])
                rows[row["name"]] = (row["city"], row["seq"])
        return rows

    def stamp(self):
        try:
            stamp = self.call("GET", "users:tailrace:stamp")
            return int(stamp[20:self.PLACE]) if stamp else 0
        except OSError:
            return 0


class Log:
    CREATE, MOVE, LEAVE = 1, 2, 3

    def __init__(self, folder):
        self.folder = folder

    def last_change(self, name):
        """Of a user: the sequence of the record, 0 = never."""
        said = tailrace(self.folder, "keys", "log", "get", f"user:{name}", "--json", check=False)
        return json.loads(said)["sequence"] if said else 0

    def records(self):
        return [json.loads(line) for line in tailrace(self.folder, "read", "log", "--json").splitlines()]

    def fold(self):
        """What every store must hold in the end."""
        users = {}
        for record in self.records():
            user = json.loads(record["data"])
            if record["type"] == self.LEAVE:
                users.pop(user["name"], None)
            else:
                users[user["name"]] = (user["city"], record["sequence"])
        return users
