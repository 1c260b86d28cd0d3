"""The allocation table of a FAT file system: chains of clusters as runs of neighbours, read window by window.

Specification: Microsoft "FAT: General Overview of On-Disk Format" 1.03, "FAT Data Structure". The table may have a
gigabyte, so that only what a chain passes through is read, and what all chains together may cost is bounded.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator

from podvm_builder.errors import FormatError
from podvm_builder.model.reader import BinaryReader

CODE = "PVB243"
MAX_CLUSTERS = 0x0FFFFFF5
"""The specification's: numbers from 0x0FFFFFF7 on have meanings of their own, and the first two are not used."""

_WINDOW = 12 << 10
"""Bytes that are read at a time: whole entries of every width."""
_BUDGET = 1 << 26
"""Steps that one file system is worth: 32 GiB of the smallest clusters in one piece, or half a million pieces."""
_JUMP = 128
"""Steps that it costs to follow a link by itself."""
_LOOK = 16
"""Steps that a comparison costs, besides one for each link."""
_ENDS = {12: 0xFF8, 16: 0xFFF8, 32: 0x0FFFFFF8}


class FatTable:
    """Links from cluster to cluster."""

    def __init__(self, reader: BinaryReader, offset: int, *, bits: int, clusters: int) -> None:
        """Read nothing yet.

        Args:
            reader: the file system.
            offset: of the table in it, bytes; the caller has checked that the table lies inside.
            bits: 12, 16 or 32.
            clusters: number of clusters; the first is number 2.
        """
        self._reader = reader
        self._offset = offset
        self._bits = bits
        self._end = clusters + 2
        self._size = (self._end * bits + 7) // 8
        self._window = -1
        self._data = b""
        self._left = _BUDGET

    def runs(self, cluster: int) -> Iterator[tuple[int, int]]:
        """Yield the chain that begins at a cluster as runs of neighbours: first cluster and number.

        Raises:
            FormatError: a cluster that does not exist, a loop, or more pieces than any builder leaves.
        """
        if cluster == 0:  # an empty file has no cluster
            return
        total = 0
        while cluster < _ENDS[self._bits]:
            if not 2 <= cluster < self._end:
                raise _error(f"cluster {cluster} does not exist")
            last = cluster + self._neighbours(cluster)
            following = self._next(last)
            while following == last + 1 and following < self._end:
                last = following + self._neighbours(following)
                following = self._next(last)
            total += last - cluster + 1
            if total > self._end - 2:
                raise _error("a chain of clusters has a loop")
            yield cluster, last - cluster + 1
            cluster = following

    def _neighbours(self, cluster: int) -> int:
        """Return how many links from a cluster on lead to the next one, compared in steps that double and halve."""
        if self._bits == 12:
            return 0
        number = _WINDOW * 8 // self._bits
        at, step = cluster, 1
        while at < self._end - 1:  # the last cluster has no next one
            count = min(step, number - at % number, self._end - 1 - at)
            if self._lead_on(at, count):
                at, step = at + count, step * 2
            elif count == 1:
                break
            else:
                step = count // 2
        return at - cluster

    def _lead_on(self, cluster: int, count: int) -> bool:
        """Say whether links in one window all lead to the next cluster."""
        self._spend(count + _LOOK)
        width = self._bits // 8
        numbers = array("H" if width == 2 else "I", range(cluster + 1, cluster + count + 1))
        if sys.byteorder == "big":
            numbers.byteswap()
        data, at = self._load(cluster * width), cluster * width % _WINDOW
        return data[at : at + count * width] == numbers.tobytes()

    def _next(self, cluster: int) -> int:
        self._spend(_JUMP)
        if self._bits == 12:
            data, at = self._load(cluster * 3 // 2), cluster * 3 // 2 % _WINDOW
            pair = int.from_bytes(data[at : at + 2], "little")
            return pair >> 4 if cluster & 1 else pair & 0xFFF
        width = self._bits // 8
        data, at = self._load(cluster * width), cluster * width % _WINDOW
        return int.from_bytes(data[at : at + width], "little") & 0x0FFFFFFF

    def _load(self, at: int) -> bytes:
        """Return the window with a byte of the table. A table of 12 bits fits into one."""
        window = at // _WINDOW
        if window != self._window:
            start = window * _WINDOW
            self._data = self._reader.read_at(self._offset + start, min(_WINDOW, self._size - start))
            self._window = window
        return self._data

    def _spend(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise _error("files in more pieces than a system partition has")


def _error(what: str) -> FormatError:
    return FormatError(f"FAT file system: {what}", code=CODE)
