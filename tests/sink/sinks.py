"""What the tests of sinks share: a log of changes to users, mappings, and databases of their own on private sockets."""

import json
import os
import pathlib
import random
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cli"))

from cli import PATIENCE_S, CliTest  # noqa: E402

UPSERT, DELETE, INSERT, STOP = 1, 2, 3, 9

USERS = {
    "table": "users",
    "columns": {
        "name": {"value": "/name", "type": "text", "key": True},
        "city": {"value": "/city", "type": "text"},
        "age": {"value": "/age", "type": "integer"},
        "seq": {"value": "sequence", "type": "integer"},
    },
    "on": {"2": "delete", "3": "insert", "9": "stop"},
}


def seed():
    value = int(os.environ.get("TAILRACE_SEED") or random.SystemRandom().getrandbits(32))
    print(f"seed: TAILRACE_SEED={value}", flush=True)
    return value


def changes(random_, count, names=200):
    """Records of changes to users."""
    for _ in range(count):
        name = f"user{random_.randrange(names)}"
        if random_.random() < 0.2:
            yield {"type": DELETE, "keys": [f"user:{name}"], "data": json.dumps({"name": name})}
        else:
            yield {"type": UPSERT, "keys": [f"user:{name}"], "data": json.dumps(
                {"name": name, "city": random_.choice(["Detroit", "Boston", "Zürich", None]),
                 "age": random_.randrange(100)})}


class SinkTest(CliTest):
    KIND = ""

    def setUp(self):
        super().setUp()
        self.create(None, "--segment-size", "1MiB")
        self.records_so_far = []
        self.mapping(USERS)

    def mapping(self, mapping, name="mapping.json"):
        (self.folder / name).write_text(json.dumps(mapping))

    def add(self, *records):
        self.append_jsonl(*records, flags=("--durable",))
        self.records_so_far += records

    def user(self, name, city="Detroit", age=1, type_=UPSERT, **more):
        return {"type": type_, "keys": [f"user:{name}"],
                "data": json.dumps({"name": name, "city": city, "age": age, **more})}

    def expected(self, records=None):
        """A clean fold: name -> (city, age, seq)."""
        rows = {}
        for sequence, record in enumerate(self.records_so_far if records is None else records, 1):
            user = json.loads(record["data"])
            if record["type"] == DELETE:
                rows.pop(user["name"], None)
            else:
                rows[user["name"]] = (user["city"], user["age"], sequence)
        return rows

    def args(self, *flags):
        return ("sink", self.KIND, self.log, "--database", self.database, "--mapping", "mapping.json", *flags)

    def sink(self, *flags, code=0):
        return self.run_raw_expecting(code, *self.args(*flags))

    def run_raw_expecting(self, code, *args):
        done = self.run_raw(*args)
        self.assertEqual(done.code, code, f"{args}: {done.err}")
        return done

    def kill_at_random(self, random_, rounds, flags=()):
        """Starts the sink again and again and kills it; then lets it come to the end."""
        for _ in range(rounds):
            process = self.start(*self.args("--follow", *flags))
            time.sleep(random_.random() * 0.06)
            process.kill()
            process.wait()
        return self.sink("--json", *flags)


class Server:
    """A database server of the test's own; killed when the test ends."""

    def __init__(self, folder, command, ready, user=None):
        self.command, self.ready, self.user, self.folder = command, ready, user, folder
        self.process = None

    def start(self):
        with open(self.folder / "server.log", "ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, cwd=self.folder,
                                            user=self.user, start_new_session=True)
        until = time.monotonic() + PATIENCE_S
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError((self.folder / "server.log").read_text())
            time.sleep(0.02)

    def kill(self, how=signal.SIGKILL):
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, how)
            self.process.wait()


def redis_server(test, *flags):
    """A Redis on a unix socket, without persistence; None where there is none, and why is said."""
    program = shutil.which("redis-server")
    if not program:
        test.skipTest("redis-server is not installed")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tr-redis-"))
    test.addCleanup(shutil.rmtree, folder, True)
    socket = folder / "redis.sock"

    def ready():
        done = subprocess.run(["redis-cli", "-s", str(socket), "ping"], capture_output=True)
        return done.stdout.strip() == b"PONG"

    server = Server(folder, [program, "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(folder),
                             *flags], ready)
    server.socket = socket
    test.addCleanup(server.kill)
    server.start()
    return server


def postgres_server(test):
    """A PostgreSQL on a unix socket in a directory of its own."""
    programs = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        test.skipTest("PostgreSQL is not installed")
    user = None
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tr-pg-"))
    test.addCleanup(shutil.rmtree, folder, True)
    if os.geteuid() == 0:  # it does not run as root
        user = "postgres"
        shutil.chown(folder, user)
        folder.chmod(0o755)
    subprocess.run([programs[-1] / "initdb", "-D", folder / "data", "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8"],
                   check=True, capture_output=True, user=user, cwd=folder)

    def ready():
        return subprocess.run([programs[-1] / "pg_isready", "-q", "-h", folder, "-U", "postgres"],
                              cwd=folder).returncode == 0

    server = Server(folder, [programs[-1] / "postgres", "-D", folder / "data", "-k", folder, "-c", "listen_addresses=",
                             "-c", "shared_buffers=16MB", "-c", "max_connections=20"], ready, user)
    server.conninfo = f"host={folder} user=postgres dbname=postgres"

    def sql(text):
        done = subprocess.run([programs[-1] / "psql", "-h", folder, "-U", "postgres", "-X", "-A", "-t", "-F", "\t", "-c",
                               text], capture_output=True, cwd=folder)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode())
        return [line.split("\t") for line in done.stdout.decode().splitlines()]

    server.sql = sql
    test.addCleanup(server.kill)
    server.start()
    return server
