"""What reader.py knows of checksums and of the journal, written from docs/format.md alone: standard library only."""

import collections
import struct

BLOCK, RING, ENTRY_HEADER_BYTES = 4096, 8192, 96


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


Anchor = collections.namedtuple(
    "Anchor", "nonce generation epoch oldest_number oldest_offset predecessor_crc clean synced_to first_retained")
Entry = collections.namedtuple("Entry", "offset number position length acked synced_to crc body")


class Journal:
    """The walk: entries, T (synced_to), D (durable), and where it ended."""

    def __init__(self, path, meta):
        self.meta, self.size = meta, meta.journal_size
        self.entries, self.synced_to, self.durable = [], 0, 0
        self.end_offset, self.end_number, self.evidence, self.first_retained = 0, 0, None, 0
        with open(path, "rb") as file:
            self.data = file.read(self.size)
        self.missing = len(self.data) < self.size
        self.anchor = None
        if self.missing:
            return
        anchors = [anchor for block in (0, BLOCK) if (anchor := self.read_anchor(block))]
        if not anchors:
            return
        self.anchor = max(anchors, key=lambda anchor: anchor.generation)
        self.synced_to = self.durable = self.anchor.synced_to
        self.first_retained = self.anchor.first_retained
        self.end_offset, self.end_number = self.anchor.oldest_offset, self.anchor.oldest_number
        if not self.anchor.clean:
            self.walk()
            self.look_for_evidence()

    @classmethod
    def lost(cls):
        """Of a log whose journal is not there at all."""
        journal = cls.__new__(cls)
        journal.missing, journal.first_retained = True, 0
        return journal

    def read_anchor(self, at):
        block = self.data[at:at + BLOCK]
        version, crc = struct.unpack_from("<II", block, 8)
        nonce = block[32:48]
        generation, epoch, number, offset, predecessor_crc, flags, synced_to, first_retained, size = \
            struct.unpack_from("<QQQQIIQQQ", block, 48)
        valid = (block[:8] == b"TTRLANC1" and version == 0 and block[16:32] == self.meta.log_id
                 and crc == crc32c(self.meta.salt, block[16:]) and size == self.size
                 and generation != 0 and number != 0 and offset % BLOCK == 0 and RING <= offset <= self.size)
        if not valid:
            return None
        return Anchor(nonce, generation, epoch, number, offset, predecessor_crc, flags & 1 != 0, synced_to,
                      first_retained)

    def read_entry(self, at, number, previous_crc, end, first):
        """The entry at this place, or None if it is not valid there."""
        if at + BLOCK > self.size or self.data[at:at + 8] != b"TTRLENT1":
            return None
        crc, its_previous_crc = struct.unpack_from("<II", self.data, at + 8)
        its_number, position, length, acked, synced_to = struct.unpack_from("<QQQQQ", self.data, at + 40)
        if (self.data[at + 16:at + 32] != self.anchor.nonce or its_number != number
                or its_previous_crc != previous_crc):
            return None
        longest = min(4 << 20, (self.size - RING) // 4 // BLOCK * BLOCK) - ENTRY_HEADER_BYTES
        if length > longest or at + up(ENTRY_HEADER_BYTES + length, BLOCK) > self.size:
            return None
        if not (position == end or end < position <= synced_to or (first and position < end)) or acked >= number:
            return None
        body_at = at + ENTRY_HEADER_BYTES
        if crc != crc32c(self.meta.salt, self.data[at + 12:body_at + length]):
            return None
        return Entry(at, number, position, length, acked, synced_to, crc, self.data[body_at:body_at + length])

    def walk(self):
        previous_crc, end = self.anchor.predecessor_crc, self.anchor.synced_to
        while True:
            expected = self.end_number, previous_crc, end, not self.entries
            entry = self.read_entry(self.end_offset, *expected) or self.read_entry(RING, *expected)
            if entry is None:
                return
            self.entries.append(entry)
            previous_crc, end = entry.crc, entry.position + entry.length
            self.synced_to = max(self.synced_to, entry.synced_to)
            self.durable = max(self.durable, entry.synced_to, end)
            self.end_offset = entry.offset + up(ENTRY_HEADER_BYTES + entry.length, BLOCK)
            self.end_number += 1

    def look_for_evidence(self):
        """Whether an entry knows that the one that is missing had been acknowledged."""
        for at in range(RING, self.size, BLOCK):
            if self.data[at:at + 8] == b"TTRLENT1" and self.data[at + 16:at + 32] == self.anchor.nonce:
                number, _, _, acked = struct.unpack_from("<QQQQ", self.data, at + 40)
                if number > self.end_number and acked >= self.end_number:
                    self.evidence = number

    def makes(self, base):
        """Whether a segment whose file is missing is there all the same."""
        return self.synced_to <= base < self.durable

    def lay_over(self, data, base, size):
        """The bytes of a segment (what its file has of them) with the entries over them."""
        if max(base, self.synced_to) >= min(base + size, self.durable):
            return data
        whole = bytearray(size)
        whole[:len(data)] = data
        for entry in self.entries:
            begin = max(entry.position, self.synced_to, base)
            end = min(entry.position + entry.length, base + size)
            if begin < end:
                whole[begin - base:end - base] = entry.body[begin - entry.position:end - entry.position]
        return bytes(whole)
