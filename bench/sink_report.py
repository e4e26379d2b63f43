#!/usr/bin/env python3
"""What sinks cost beside the databases' own tools: docs/benchmarks.md.

sqlite: `tailrace sink sqlite` beside `sqlite3 .import` of the same rows, in transactions of the same size, into a table
of the same shape with the same pragmas. redis: `tailrace sink redis` beside redis-benchmark's pipelined SET of values of
the same size, with as many in a pipeline as the sink puts into a script. In turn, whole processes, medians and spread.
"""

import argparse
import csv
import json
import os
import pathlib
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

TAILRACE = os.environ.get("TAILRACE_BIN", "build/bin/tailrace")
COLUMNS = {"seq": {"value": "sequence", "type": "integer", "key": True}, "delay": {"value": "/delay", "type": "integer"},
           "distance": {"value": "/distance", "type": "integer"}, "time": {"value": "/time", "type": "real"}}
MAPPING = {"table": "flights", "otherwise": "insert", "columns": COLUMNS}
TABLE = "CREATE TABLE flights(seq INTEGER PRIMARY KEY, delay INTEGER, distance INTEGER, time REAL)"


def run(*words, folder, text=None):
    begin = time.monotonic()
    done = subprocess.run(list(map(str, words)), cwd=folder, input=text, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{words}: {done.stderr}")
    return time.monotonic() - begin, done.stdout


def make_log(folder, rows):
    run(TAILRACE, "create", "log", folder=folder)
    text = "".join(json.dumps({"delay": i % 240 - 20, "distance": i % 2500, "time": i % 1440 / 60}) + "\n"
                   for i in range(rows))
    run(TAILRACE, "append", "log", "--durable", folder=folder, text=text)
    (folder / "mapping.json").write_text(json.dumps(MAPPING))


def clean(folder):
    for file in (*folder.glob("*.db*"), *(folder / "log/consumers").glob("*")):
        file.unlink()


def sqlite_sink(folder):
    """(seconds, transactions)"""
    clean(folder)
    seconds, said = run(TAILRACE, "sink", "sqlite", "log", "--database", "sink.db", "--mapping", "mapping.json", "--json",
                        folder=folder)
    return seconds, json.loads(said)["transactions"]


def sqlite_import(folder, rows, transactions):
    """The same rows from CSV files, one for each transaction."""
    with sqlite3.connect(folder / "sink.db") as database:
        all_rows = database.execute("SELECT seq, delay, distance, time FROM flights ORDER BY seq").fetchall()
    assert len(all_rows) == rows
    size = -(-rows // transactions)
    script = ["PRAGMA journal_mode=WAL;", "PRAGMA synchronous=FULL;", TABLE + ";", ".mode csv"]
    for at in range(0, rows, size):
        with open(folder / f"{at}.csv", "w", newline="") as file:
            csv.writer(file).writerows(all_rows[at:at + size])
        script.append(f".import {at}.csv flights")
    (folder / "import.db").unlink(missing_ok=True)
    seconds, _ = run("sqlite3", "import.db", folder=folder, text="\n".join(script) + "\n")
    for file in folder.glob("*.csv"):
        file.unlink()
    return seconds


def stamp_share(folder, seconds, transactions):
    """Of the sink's time: so many updates of its stamp, in a transaction with something else in it."""
    database = sqlite3.connect(folder / "sink.db", isolation_level=None)
    database.execute("BEGIN")
    begin = time.monotonic()
    for i in range(20000):
        database.execute("UPDATE tailrace_sinks SET epoch=?, sequence=?, position=?, size=?, crc=? WHERE log_id=log_id AND "
                         "sink='flights' AND epoch=epoch AND sequence=sequence", (1, i, i, i, i))
    each = (time.monotonic() - begin) / 20000
    database.execute("ROLLBACK")
    database.close()
    return each * transactions / seconds


def redis_sink(folder, socket):
    clean(folder)
    run("redis-cli", "-s", socket, "FLUSHALL", folder=folder)
    seconds, said = run(TAILRACE, "sink", "redis", "log", "--database", socket, "--mapping", "mapping.json", "--json",
                        folder=folder)
    return seconds, json.loads(said)["transactions"]


def redis_set(folder, socket, rows, pipeline):
    size = 40 + len('{"seq":100000,"delay":-11,"distance":1234,"time":12.5}')
    run("redis-cli", "-s", socket, "FLUSHALL", folder=folder)
    seconds, _ = run("redis-benchmark", "-s", socket, "-q", "-t", "set", "-c", 1, "-P", min(pipeline, 10000), "-n", rows,
                     "-d", size, "-r", 1000000, folder=folder)
    return seconds


def show(name, ours, limit, target):
    ratios = [b / a for a, b in zip(ours, limit)]
    ratio = statistics.median(ratios)
    print(f"{name:44} {statistics.median(ours):7.2f} s  {statistics.median(limit):7.2f} s   "
          f"{ratio:5.2f} ({min(ratios):.2f}-{max(ratios):.2f})  >= {target}  {'ok' if ratio >= target else 'MISSED'}")
    return ratio >= target


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--check", action="store_true", help="exit 6 when a target was missed")
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tailrace-sinks-", dir="/var/tmp"))
    redis = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", folder / "redis.sock", "--save", ""],
                             stdout=subprocess.DEVNULL)
    try:
        make_log(folder, options.rows)
        figures = {name: ([], []) for name in ("sqlite", "redis")}
        shares = []
        for round_ in range(options.rounds):
            seconds, transactions = sqlite_sink(folder)
            shares.append(stamp_share(folder, seconds, transactions))
            figures["sqlite"][0].append(seconds)
            figures["sqlite"][1].append(sqlite_import(folder, options.rows, transactions))
            seconds, transactions = redis_sink(folder, folder / "redis.sock")
            figures["redis"][0].append(seconds)
            figures["redis"][1].append(redis_set(folder, folder / "redis.sock", options.rows, options.rows // transactions))
        print(f"{options.rows} rows, {transactions} transactions; tailrace, the database's own, ratio of rates")
        good = show("sink sqlite, vs sqlite3 .import", *figures["sqlite"], 0.6)
        good = show("sink redis, vs redis-benchmark SET", *figures["redis"], 0.7) and good
        share = statistics.median(shares)
        print(f"{'stamp updates, of the sqlite sink':44} {share * 100:.2f} % (<= 5 %)  {'ok' if share <= 0.05 else 'MISSED'}")
        good = good and share <= 0.05
    finally:
        redis.kill()
        shutil.rmtree(folder, ignore_errors=True)
    return 6 if options.check and not good else 0


if __name__ == "__main__":
    sys.exit(main())
