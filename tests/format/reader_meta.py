"""The part of reader.py that knows log.meta and control."""

import os
import struct

from reader_journal import crc32c


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
        if version != 1:
            raise NotALog(f"{path}: format version {version}, known is only 1")
        if crc != crc32c(raw[16:128]):
            raise NotALog(f"{path}: wrong checksum")
        self.log_id, self.salt = raw[16:32], raw[32:40]
        self.segment_size, = struct.unpack_from("<Q", raw, 40)
        if self.segment_size.bit_count() != 1 or not 1 << 20 <= self.segment_size <= 1 << 31:
            raise NotALog(f"{path}: segment size {self.segment_size}")
        self.journal_size, = struct.unpack_from("<Q", raw, 48)
        if self.journal_size % 4096 != 0 or self.journal_size < 256 << 10:
            raise NotALog(f"{path}: journal size {self.journal_size}")
        if any(raw[72:]):
            raise NotALog(f"{path}: something newer than format version 1")


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
        state, pid, start_time = struct.unpack_from("<IIQ", raw, 144)
        self.first_retained, = struct.unpack_from("<Q", raw, 264)
        self.committed, = struct.unpack_from("<Q", raw, 384)
        self.durable, = struct.unpack_from("<Q", raw, 512)
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            this_boot = raw[128:144] == bytes.fromhex(file.read().strip().replace("-", ""))
        self.counts_for_segments = this_boot or state == 2
        self.at_work = state == 1 and this_boot and process_start_time(pid) == start_time


def process_start_time(pid):
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])  # field 22; the name may hold anything
    except OSError:
        return None
