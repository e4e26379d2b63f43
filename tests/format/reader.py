#!/usr/bin/env python3
"""A second reader of Tailrace logs, written from docs/format.md alone: standard library only, nothing of the engine.

usage: reader.py [--verdict | --journal] LOG
Prints each record as one JSON object per line, as `tailrace read --json --ids` does, and the verdict, as `tailrace
verify --json` does, on stderr (with --verdict: only that, on stdout). Exits 0: ok, 6: torn tail, 4: corrupt, 1: no such log.
With --journal, prints what the journal holds instead. For logs at rest, also as a power cut left them: what only the
journal has is read from there. It opens nothing for writing.
"""

import base64
import collections
import json
import mmap
import os
import re
import struct
import sys

from reader_journal import Journal, crc32c, up
from reader_meta import Control, LogMeta, NotALog

HEADER_BYTES = 4096
ALIGNMENT = 32
RECORD, PADDING, EPOCH_START = 0x01, 0x02, 0x03
GOES_ON, HAS_EVENT_ID = 0x10, 0x20
RECORDS = (RECORD, RECORD | GOES_ON, RECORD | HAS_EVENT_ID, RECORD | GOES_ON | HAS_EVENT_ID)


SegmentHeader = collections.namedtuple(
    "SegmentHeader", "first_position first_sequence epoch previous_end previous_timestamp")
Frame = collections.namedtuple("Frame", "size timestamp type kind keys payload full_epoch event_id")
Record = collections.namedtuple("Record", "sequence epoch position timestamp type keys payload event_id")


class Segment:
    """One mapped file, or a copy of it with the journal laid over; `data` is empty if the file is."""

    def __init__(self, path, number, meta, journal=None):
        self.number, self.meta = number, meta
        self.base = number * meta.segment_size
        self.data = self.map(path)
        if journal is not None:
            self.data = journal.lay_over(self.data, self.base, meta.segment_size)
        self.readable = len(self.data) // ALIGNMENT * ALIGNMENT
        self.header = self.read_header()

    def map(self, path):
        if path is None:
            return b""
        with open(path, "rb") as file:
            size = min(os.fstat(file.fileno()).st_size, self.meta.segment_size)
            return mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) if size else b""

    def read_header(self):
        """None if it is not right in itself."""
        data, meta = self.data, self.meta
        if len(data) < HEADER_BYTES or data[:8] != b"TTRLSEG1":
            return None
        version, crc = struct.unpack_from("<II", data, 8)
        number, first_position, first_sequence, epoch, last_sequence, previous_end, previous_timestamp = \
            struct.unpack_from("<QQQQQQq", data, 32)
        right = (version == 1 and data[16:32] == meta.log_id and number == self.number
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
        full_epoch, event_id, keys, payload_at = None, None, [], offset + 32
        if kind in RECORDS:
            if epoch16 != epoch % 65536:
                return None
            if kind & HAS_EVENT_ID:
                if size - 32 < 40:
                    return None
                event_id = data[payload_at:payload_at + 16]
                payload_at += 40
            for _ in range(key_count):
                left = offset + size - payload_at
                if left < 24:
                    return None
                length, = struct.unpack_from("<H", data, payload_at + 16)
                if 24 + up(length, 8) > left:
                    return None
                keys.append((data[payload_at + 24:payload_at + 24 + length], data[payload_at + 18] & 2 != 0))
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
        return Frame(size, timestamp, type_, kind, keys, data[payload_at:offset + size], full_epoch, event_id)


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
        self.journal = self.read_journal()
        self.first_retained = self.control.first_retained
        if self.journal is not None:
            self.first_retained = max(self.first_retained, self.journal.first_retained)
        self.numbers = self.list_segments()
        self.floor = self.durable_floor()
        self.end = None        # Place
        self.bad_position = self.bad_sequence = 0
        self.corrupt = False
        self.count = self.walked_bytes = 0

    def read_journal(self):
        """None where a writer is at work, or without permission."""
        if self.control.at_work:
            return None
        try:
            return Journal(os.path.join(self.path, "journal"), self.meta)
        except FileNotFoundError:
            return Journal.lost()
        except PermissionError:
            return None

    def durable_floor(self):
        if self.journal is not None:
            return 0 if self.journal.missing else max(self.first_retained, self.journal.durable)
        if self.control.at_work:
            return max(self.first_retained, self.control.durable)
        floor = max(self.first_retained, self.control.durable if self.control.counts_for_segments else 0)
        if self.numbers and self.numbers[-1] >= 1:
            floor = max(floor, (self.numbers[-1] - 1) * self.size)
        return floor

    def list_segments(self):
        numbers = []
        for name in os.listdir(os.path.join(self.path, "segments")):
            match = re.fullmatch(r"([0-9]{20})\.seg", name)
            if match and int(match[1]) % self.size == 0:
                numbers.append(int(match[1]) // self.size)
        return sorted(n for n in numbers if (n + 1) * self.size > self.first_retained)

    def file_of(self, number):
        return f"segments/{number * self.size:020}.seg"

    def exists(self, number):
        return number in self.numbers or self.journal is not None and self.journal.makes(number * self.size)

    def open_segment(self, number, journal=None):
        path = os.path.join(self.path, self.file_of(number)) if number in self.numbers else None
        return Segment(path, number, self.meta, journal)

    def records(self):
        if self.journal is not None and self.journal.missing:
            return
        first = number = self.first_retained // self.size
        self.end = Place(number * self.size, data_end=number * self.size)
        while True:
            self.bad_position, self.bad_sequence = self.end.position, self.end.sequence
            if not self.exists(number):
                self.corrupt = bool(self.numbers) and self.numbers[-1] > number or number == first and number > 0
                return
            segment = self.open_segment(number, self.journal)
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
            is_record = frame.kind in RECORDS
            if records and (not is_record or frame.event_id is not None):
                return None
            position, place.timestamp = place.position, frame.timestamp
            if frame.kind == PADDING:
                place.position = segment.base + self.size
            else:
                place.position = place.data_end = position + up(frame.size, ALIGNMENT)
            if is_record:
                records.append(Record(place.sequence, place.epoch, position, frame.timestamp, frame.type, frame.keys,
                                      frame.payload, frame.event_id))
                place.sequence += 1
            elif frame.kind == EPOCH_START:
                place.epoch = frame.full_epoch
            if not frame.kind & GOES_ON:
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
                    if frame is not None and frame.kind in RECORDS:
                        tail_records += 1
                        span = up(frame.size, ALIGNMENT)
                at += span
        return tail_bytes, tail_records

    def journal_is_damaged(self):
        journal = self.journal
        return journal is not None and (journal.anchor is None or journal.evidence is not None
                                        or journal.durable < self.control.durable)

    def verdict(self):
        """After records() has been used up."""
        if self.journal is not None and self.journal.missing:
            return self.answer("corrupt", "journal", 0, 0, 0, 0)
        file, offset, sequence = self.file_of(self.bad_position // self.size), self.bad_position % self.size, \
            self.bad_sequence
        corrupt = self.corrupt or self.end.position < self.floor
        if not corrupt and self.journal_is_damaged():
            corrupt, file, offset, sequence = True, "journal", self.journal.end_offset, self.end.sequence
        if corrupt or self.control.at_work and self.control.committed > self.end.position:
            return self.answer("corrupt", file, offset, sequence, 0, 0)
        tail_bytes, tail_records = self.tail()
        if tail_bytes == 0 or self.control.at_work:
            return self.answer("ok", None, None, None, self.walked_bytes, self.count)
        return self.answer("torn_tail", file, offset, sequence, tail_bytes, tail_records)

    @staticmethod
    def answer(verdict, file, offset, sequence, its_bytes, its_records):
        return {"verdict": verdict, "file": file, "offset": offset, "sequence": sequence, "bytes": its_bytes,
                "records": its_records}


def as_text(data):
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def as_json(record):
    keys = [(released, key if (key := as_text(raw)) is not None else {"base64": base64.b64encode(raw).decode()})
            for raw, released in record.keys]
    release = [key for released, key in keys if released]
    text = as_text(record.payload)
    return json.dumps({
        "sequence": record.sequence, "epoch": record.epoch, "position": str(record.position),
        "timestamp_ns": str(record.timestamp), "type": record.type, "keys": [key for released, key in keys if not released],
        **({"release": release} if release else {}),
        **({"event_id": record.event_id.hex()} if record.event_id is not None else {}), "size": len(record.payload),
        "encoding": "base64" if text is None else "utf8",
        "data": base64.b64encode(record.payload).decode() if text is None else text,
    }, ensure_ascii=False, separators=(",", ":"))


def print_journal(journal):
    """An object for the anchor, one for each entry without its body, and one for how the walk ended."""
    if journal is None or journal.missing or journal.anchor is None:
        print(json.dumps({"anchor": None}))
        return
    print(json.dumps({"anchor": journal.anchor._replace(nonce=journal.anchor.nonce.hex())._asdict()}))
    for entry in journal.entries:
        print(json.dumps({"entry": entry._replace(body=None)._asdict()}))
    print(json.dumps({"end_offset": journal.end_offset, "end_number": journal.end_number,
                      "synced_to": journal.synced_to, "durable": journal.durable, "evidence": journal.evidence}))


def main(arguments):
    only_verdict, only_journal = "--verdict" in arguments, "--journal" in arguments
    paths = [argument for argument in arguments if argument not in ("--verdict", "--journal")]
    if len(paths) != 1 or (only_verdict and only_journal):
        print(__doc__, file=sys.stderr)
        return 2
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    try:
        log = Log(paths[0])
        if only_journal:
            print_journal(log.journal)
            return 0
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
