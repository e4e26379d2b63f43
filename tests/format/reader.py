#!/usr/bin/env python3
"""A second reader of Tailrace logs, written from docs/format.md alone: standard library only, nothing of the engine.

usage: reader.py [--verdict] LOG
Prints each record as one JSON object per line, as `tailrace read --json` does, and the verdict, as `tailrace verify
--json` does, on stderr (with --verdict: only that, on stdout). Exits 0: ok, 6: torn tail, 4: corrupt, 1: no such log.
For logs at rest; it opens nothing for writing.
"""

import base64
import collections
import json
import mmap
import os
import re
import struct
import sys
import time

HEADER_BYTES = 4096
ALIGNMENT = 32
RECORD, PADDING, EPOCH_START, BATCH_RECORD = 0x01, 0x02, 0x03, 0x11


def make_crc_table():
    table = []
    for i in range(256):
        for _ in range(8):
            i = (i >> 1) ^ (0x82F63B78 if i & 1 else 0)
        table.append(i)
    return table


CRC_TABLE = make_crc_table()


def crc32c(*pieces):
    table, r = CRC_TABLE, 0xFFFFFFFF
    for piece in pieces:
        for byte in piece:
            r = (r >> 8) ^ table[(r ^ byte) & 0xFF]
    return r ^ 0xFFFFFFFF


def up(value, unit):
    return -(-value // unit) * unit


class NotALog(Exception):
    pass


class LogMeta:
    def __init__(self, path):
        try:
            with open(path, "rb") as file:
                raw = file.read(128)
        except OSError as error:
            raise NotALog(error) from error
        if len(raw) < 128 or raw[:8] != b"TTRLLOG1":
            raise NotALog(f"{path}: no log.meta")
        version, crc = struct.unpack_from("<II", raw, 8)
        if version != 0:
            raise NotALog(f"{path}: format version {version}, known is only 0")
        if crc != crc32c(raw[16:128]):
            raise NotALog(f"{path}: wrong checksum")
        self.log_id, self.salt = raw[16:32], raw[32:40]
        self.segment_size, = struct.unpack_from("<Q", raw, 40)
        if self.segment_size.bit_count() != 1 or not 1 << 20 <= self.segment_size <= 1 << 31:
            raise NotALog(f"{path}: segment size {self.segment_size}")


class Control:
    def __init__(self, path, meta):
        try:
            with open(path, "rb") as file:
                raw = file.read()
        except OSError as error:
            raise NotALog(error) from error
        if len(raw) != 65536 or raw[:8] != b"TTRLCTL1" or raw[16:32] != meta.log_id:
            raise NotALog(f"{path}: not this log's control")
        version, size = struct.unpack_from("<II", raw, 8)
        if size != 65536:
            raise NotALog(f"{path}: not this log's control")
        if version != 0:
            raise NotALog(f"{path}: version {version}, known is only 0")
        state, = struct.unpack_from("<I", raw, 144)
        heartbeat, = struct.unpack_from("<q", raw, 168)
        generation, self.first_retained = struct.unpack_from("<QQ", raw, 256)
        self.committed, = struct.unpack_from("<Q", raw, 384)
        self.durable, = struct.unpack_from("<Q", raw, 512)
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot_id = bytes.fromhex(file.read().strip().replace("-", ""))
        age = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - heartbeat
        self.live = raw[128:144] == boot_id and state == 1 and generation % 2 == 0 and age < 1_000_000_000


SegmentHeader = collections.namedtuple(
    "SegmentHeader", "first_position first_sequence epoch previous_end previous_timestamp")
Frame = collections.namedtuple("Frame", "size timestamp type kind keys payload full_epoch")
Record = collections.namedtuple("Record", "sequence epoch position timestamp type keys payload")


class Segment:
    """One mapped file; `data` is empty if the file is."""

    def __init__(self, path, number, meta):
        self.number, self.meta = number, meta
        self.base = number * meta.segment_size
        with open(path, "rb") as file:
            size = min(os.fstat(file.fileno()).st_size, meta.segment_size)
            self.data = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) if size else b""
        self.readable = size // ALIGNMENT * ALIGNMENT
        self.header = self.read_header()

    def read_header(self):
        """None if it is not right in itself."""
        data, meta = self.data, self.meta
        if len(data) < HEADER_BYTES or data[:8] != b"TTRLSEG1":
            return None
        version, crc = struct.unpack_from("<II", data, 8)
        number, first_position, first_sequence, epoch, last_sequence, previous_end, previous_timestamp = \
            struct.unpack_from("<QQQQQQq", data, 32)
        right = (version == 0 and data[16:32] == meta.log_id and number == self.number
                 and first_position == self.base + HEADER_BYTES and first_sequence == (last_sequence + 1) % 2**64
                 and crc == crc32c(meta.salt, data[16:HEADER_BYTES]))
        return SegmentHeader(first_position, first_sequence, epoch, previous_end, previous_timestamp) if right else None

    def frame(self, offset, sequence, epoch):
        """The frame at `offset`, or None if it is not valid there."""
        data = self.data
        if offset + ALIGNMENT > self.readable:
            return None
        size, crc, its_sequence, timestamp, type_, epoch16, kind, key_count = \
            struct.unpack_from("<IIQqIHBB", data, offset)
        if not 32 <= size <= self.readable - offset or its_sequence != sequence:
            return None
        full_epoch, keys, payload_at = None, [], offset + 32
        if kind in (RECORD, BATCH_RECORD):
            if epoch16 != epoch % 65536:
                return None
            for _ in range(key_count):
                left = offset + size - payload_at
                if left < 24:
                    return None
                length, = struct.unpack_from("<H", data, payload_at + 16)
                if 24 + up(length, 8) > left:
                    return None
                keys.append(data[payload_at + 24:payload_at + 24 + length])
                payload_at += 24 + up(length, 8)
        elif kind == PADDING:
            if size != 32 or key_count != 0 or epoch16 != epoch % 65536:
                return None
        elif kind == EPOCH_START:
            if size != 40 or key_count != 0:
                return None
            full_epoch, = struct.unpack_from("<Q", data, offset + 32)
            if full_epoch <= epoch or epoch16 != full_epoch % 65536:
                return None
        else:
            return None
        place = struct.pack("<QI", self.base + offset, size)
        if crc != crc32c(self.meta.salt, place, data[offset + 8:offset + size]):
            return None
        return Frame(size, timestamp, type_, kind, keys, data[payload_at:offset + size], full_epoch)


class Place:
    """Where the log stands: what the walk knows at its end so far."""

    def __init__(self, position, sequence=1, epoch=0, timestamp=0, data_end=0):
        self.position, self.sequence, self.epoch = position, sequence, epoch
        self.timestamp, self.data_end = timestamp, data_end

    def copy(self):
        return Place(self.position, self.sequence, self.epoch, self.timestamp, self.data_end)

    def is_followed_by(self, header):
        return (header.first_sequence == self.sequence and header.previous_end == self.data_end
                and header.previous_timestamp == self.timestamp and header.epoch == self.epoch)


class Log:
    """records() yields all valid records; afterwards verdict() says how it ended."""

    def __init__(self, path):
        self.path = path
        self.meta = LogMeta(os.path.join(path, "log.meta"))
        self.control = Control(os.path.join(path, "control"), self.meta)
        self.size = self.meta.segment_size
        self.numbers = self.list_segments()
        self.floor = max(self.control.durable, self.control.first_retained)
        if self.numbers and self.numbers[-1] >= 1:
            self.floor = max(self.floor, (self.numbers[-1] - 1) * self.size)
        self.end = None        # Place
        self.bad_position = self.bad_sequence = 0
        self.corrupt = False
        self.count = self.walked_bytes = 0

    def list_segments(self):
        numbers = []
        for name in os.listdir(os.path.join(self.path, "segments")):
            match = re.fullmatch(r"([0-9]{20})\.seg", name)
            if match and int(match[1]) % self.size == 0:
                numbers.append(int(match[1]) // self.size)
        return sorted(n for n in numbers if (n + 1) * self.size > self.control.first_retained)

    def file_of(self, number):
        return f"segments/{number * self.size:020}.seg"

    def open_segment(self, number):
        return Segment(os.path.join(self.path, self.file_of(number)), number, self.meta)

    def records(self):
        first = number = self.control.first_retained // self.size
        self.end = Place(number * self.size, data_end=number * self.size)
        while True:
            self.bad_position, self.bad_sequence = self.end.position, self.end.sequence
            if number not in self.numbers:
                self.corrupt = bool(self.numbers) and self.numbers[-1] > number
                return
            segment = self.open_segment(number)
            header = segment.header
            if header is None:
                self.corrupt = number == first and number > 0
                return
            if number != first and not self.end.is_followed_by(header):
                return
            self.end = Place(header.first_position, header.first_sequence, header.epoch,
                             header.previous_timestamp, header.previous_end)
            while self.end.position != segment.base + self.size:
                unit = self.unit(segment)
                if unit is None:
                    return
                yield from unit
            number += 1

    def unit(self, segment):
        """The records of the unit at the end so far, which moves behind it; None if it is not valid."""
        place, records = self.end.copy(), []
        while True:
            self.bad_position, self.bad_sequence = place.position, place.sequence
            frame = segment.frame(place.position - segment.base, place.sequence, place.epoch)
            if frame is None:
                return None
            is_record = frame.kind in (RECORD, BATCH_RECORD)
            if records and not is_record:
                return None
            position, place.timestamp = place.position, frame.timestamp
            if frame.kind == PADDING:
                place.position = segment.base + self.size
            else:
                place.position = place.data_end = position + up(frame.size, ALIGNMENT)
            if is_record:
                records.append(Record(place.sequence, place.epoch, position, frame.timestamp, frame.type, frame.keys,
                                      frame.payload))
                place.sequence += 1
            elif frame.kind == EPOCH_START:
                place.epoch = frame.full_epoch
            if frame.kind != BATCH_RECORD:
                break
        self.count += len(records)
        self.walked_bytes += place.position - self.end.position
        self.end = place
        return records

    def tail(self):
        """Bytes behind the end up to the last that is not zero, and whole records among them."""
        tail_bytes = tail_records = 0
        for number in self.numbers:
            if number < self.end.position // self.size:
                continue
            segment = self.open_segment(number)
            begin = max(self.end.position - segment.base, HEADER_BYTES)
            length = len(segment.data[begin:].rstrip(b"\0"))
            tail_bytes += length
            at = begin
            while at < min(begin + length, segment.readable):
                sequence, = struct.unpack_from("<Q", segment.data, at + 8)
                span = ALIGNMENT
                if self.end.sequence <= sequence < self.end.sequence + self.size // 16:
                    frame = segment.frame(at, sequence, self.end.epoch)
                    if frame is not None and frame.kind in (RECORD, BATCH_RECORD):
                        tail_records += 1
                        span = up(frame.size, ALIGNMENT)
                at += span
        return tail_bytes, tail_records

    def verdict(self):
        """After records() has been used up."""
        corrupt = (self.corrupt or self.end.position < self.floor
                   or self.control.live and self.control.committed > self.end.position)
        tail_bytes, tail_records = (0, 0) if corrupt else self.tail()
        if not corrupt and (tail_bytes == 0 or self.control.live):
            return {"verdict": "ok", "file": None, "offset": None, "sequence": None,
                    "bytes": self.walked_bytes, "records": self.count}
        return {"verdict": "corrupt" if corrupt else "torn_tail",
                "file": self.file_of(self.bad_position // self.size), "offset": self.bad_position % self.size,
                "sequence": self.bad_sequence, "bytes": tail_bytes, "records": tail_records}


def as_text(data):
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def as_json(record):
    keys = [key if (key := as_text(raw)) is not None else {"base64": base64.b64encode(raw).decode()}
            for raw in record.keys]
    text = as_text(record.payload)
    return json.dumps({
        "sequence": record.sequence, "epoch": record.epoch, "position": str(record.position),
        "timestamp_ns": str(record.timestamp), "type": record.type, "keys": keys, "size": len(record.payload),
        "encoding": "base64" if text is None else "utf8",
        "data": base64.b64encode(record.payload).decode() if text is None else text,
    }, ensure_ascii=False, separators=(",", ":"))


def main(arguments):
    only_verdict = "--verdict" in arguments
    paths = [argument for argument in arguments if argument != "--verdict"]
    if len(paths) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    try:
        log = Log(paths[0])
        for record in log.records():
            if not only_verdict:
                print(as_json(record))
        verdict = log.verdict()
    except (NotALog, OSError) as error:
        print(f"reader.py: {error}", file=sys.stderr)
        return 1
    print(json.dumps(verdict), file=sys.stdout if only_verdict else sys.stderr)
    return {"ok": 0, "torn_tail": 6, "corrupt": 4}[verdict["verdict"]]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
