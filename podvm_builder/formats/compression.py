"""Decompression of one stream, with a limit on what comes out, and with what stands behind the stream.

gzip, xz, lzma and bzip2 are in the standard library; Zstandard is from Python 3.14 on, before that it is in the
``zstandard`` package. What cannot be decompressed is said so by name.
"""

from __future__ import annotations

import bz2
import importlib
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from podvm_builder.errors import FormatError

CODE = "PVB255"
ZSTD = "zstd"
MAGICS = {
    b"\x28\xb5\x2f\xfd": ZSTD,
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ\0": "xz",
    b"BZh": "bzip2",
    b"\x5d\0\0": "lzma",
    b"\x02\x21\x4c\x18": "lz4",
    b"\x04\x22\x4d\x18": "lz4",
    b"\x89LZO": "lzo",
}
_ERRORS = (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError)
"""Of the standard library's decoders."""
_ZLIB = type(zlib.decompressobj())
_PIECE = 16 << 10
"""Bytes fed at a time."""
_MAX_PIECE = 1 << 20
"""Bytes taken out at a time, where the decoder can be held to it."""
_HEAD = 16
"""Bytes that tell a stream."""
_SMALL_PIECE = 256
"""Bytes fed at a time to a decoder that gives out all it has: Zstandard's makes up to 32768 times as much of them."""
_MAX_WINDOW = 256 << 20
"""Bytes of memory that a stream may ask a decoder for; `xz -9` asks for 65 MiB."""


class Unsupported(Exception):
    """Something that cannot be read here; the message says what and why, and becomes a register's reason."""


def name_of(data: bytes) -> str | None:
    """Return the compression of a stream by its first bytes, None where they are of none known."""
    return next((name for magic, name in MAGICS.items() if data.startswith(magic)), None)


def decompress(name: str, data: bytes | memoryview, *, limit: int, cut: bool = False) -> tuple[bytes, int]:
    """Decompress the stream at the start of ``data``.

    Args:
        name: a name of :data:`MAGICS`, ``zlib``, or ``deflate`` without a header.
        data: the stream and what stands behind it.
        limit: bytes that may come out.
        cut: a stream that gave ``limit`` bytes is done, whether or not its end was reached.

    Returns:
        What came out, and how many bytes of ``data`` the stream has.

    Raises:
        FormatError: the stream is damaged, ends too early, or holds more than ``limit``.
        Unsupported: it cannot be read here.
    """
    out: list[bytes] = []
    total = used = 0
    for piece, used in pieces(name, data):
        total += len(piece)
        if total > limit:
            raise FormatError(f"{name} stream: more than {limit} bytes come out", used, code=CODE)
        out.append(piece)
        if cut and total == limit:
            break
    return b"".join(out), used


def pieces(name: str, data: bytes | memoryview) -> Iterator[tuple[bytes, int]]:
    """Yield what comes out of a stream piece by piece, each with the number of bytes of ``data`` read so far.

    A piece has at most 8 MiB, whatever the stream.

    Raises:
        FormatError: the stream is damaged or ends too early.
        Unsupported: it cannot be read here.
    """
    decoder, errors = _decoder(name)
    view = memoryview(data)
    step = _PIECE if hasattr(decoder, "needs_input") or isinstance(decoder, _ZLIB) else _SMALL_PIECE
    for at in range(0, len(view), step):
        end = min(at + step, len(view))
        try:
            for piece in _taken(decoder, view[at:end]):
                yield piece, end - len(decoder.unused_data)
        except errors as error:
            raise FormatError(f"{name} stream: {error}", at, code=CODE) from error
        if decoder.eof:
            return
    raise FormatError(f"{name} stream: it ends too early", len(view), code=CODE)


def decompressed(chunks: Iterable[bytes], *, unread: str = CODE) -> Iterator[bytes]:
    """Yield what comes out of a file that is one or several streams of the same compression, or is not compressed.

    gzip, xz and Zstandard files may be put together from streams, which many programs do to compress in parallel; xz
    may have zeros behind a stream, and Zstandard frames that hold nothing.

    Args:
        chunks: the file's bytes, in pieces of any size.
        unread: the code where a compression cannot be read here.

    Raises:
        FormatError: a stream is damaged or ends too early, or something else stands behind one.
    """
    feed = _Feed(chunks)
    head = feed.peek(_HEAD)
    name = ZSTD if _is_skippable(head) else name_of(head)
    if name is None:
        yield from feed.rest()
        return
    while head:
        if name == ZSTD and _is_skippable(head):
            feed.skip(8 + int.from_bytes(head[4:8], "little"))
        elif name_of(head) == name:
            yield from _one_stream(name, feed, unread)
        else:
            raise FormatError(f"{name} stream: something else stands behind it", feed.at, code=CODE)
        head = feed.peek(_HEAD)
        if head[:1] == b"\0":
            feed.skip_zeros()
            head = feed.peek(_HEAD)


def _one_stream(name: str, feed: _Feed, unread: str) -> Iterator[bytes]:
    try:
        decoder, errors = _decoder(name)
    except Unsupported as error:
        raise FormatError(str(error), feed.at, code=unread) from None
    step = _PIECE if hasattr(decoder, "needs_input") or isinstance(decoder, _ZLIB) else _SMALL_PIECE
    while not decoder.eof:
        piece = feed.take(step)
        if not piece:
            raise FormatError(f"{name} stream: it ends too early", feed.at, code=CODE)
        try:
            yield from _taken(decoder, piece)
        except errors as error:
            raise FormatError(f"{name} stream: {error}", feed.at, code=CODE) from error
    feed.give_back(decoder.unused_data)


def _is_skippable(head: bytes) -> bool:
    """Say whether a Zstandard frame holds nothing to decompress (RFC 8878, section 3.1.2)."""
    return len(head) >= 8 and head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50


class _Feed:
    """Bytes that come in chunks, taken in pieces of another size."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")
        self.at = 0

    def take(self, most: int) -> bytes:
        """Return up to ``most`` bytes; none at the end."""
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._rest = memoryview(chunk)
        taken, self._rest = self._rest[:most], self._rest[most:]
        self.at += len(taken)
        return bytes(taken)

    def peek(self, count: int) -> bytes:
        """Return the next ``count`` bytes, or what is left, without taking them."""
        while len(self._rest) < count and (chunk := next(self._chunks, None)) is not None:
            self._rest = memoryview(bytes(self._rest) + chunk)
        return bytes(self._rest[:count])

    def give_back(self, data: bytes) -> None:
        """Put bytes that were taken last in front again."""
        self.at -= len(data)
        self._rest = memoryview(data + bytes(self._rest))

    def skip(self, count: int) -> None:
        """Take bytes that are of no account; FormatError where there are fewer."""
        while count:
            piece = self.take(min(count, _PIECE))
            if not piece:
                raise FormatError("zstd stream: it ends too early", self.at, code=CODE)
            count -= len(piece)

    def skip_zeros(self) -> None:
        """Take zeros up to the first other byte."""
        while piece := self.take(_PIECE):
            if kept := piece.lstrip(b"\0"):
                self.give_back(kept)
                return

    def rest(self) -> Iterator[bytes]:
        """Yield all that is left."""
        while piece := self.take(_MAX_PIECE):
            yield piece


def _taken(decoder: Any, data: bytes | memoryview) -> Iterator[bytes]:
    """Yield what a decoder makes of bytes, :data:`_MAX_PIECE` at a time where it can be held to that."""
    if hasattr(decoder, "needs_input"):
        yield decoder.decompress(data, _MAX_PIECE)
        while not (decoder.eof or decoder.needs_input):
            yield decoder.decompress(b"", _MAX_PIECE)
    elif isinstance(decoder, _ZLIB):
        piece = decoder.decompress(data, _MAX_PIECE)
        yield piece
        while not decoder.eof and (decoder.unconsumed_tail or len(piece) == _MAX_PIECE):
            piece = decoder.decompress(decoder.unconsumed_tail, _MAX_PIECE)
            yield piece
    else:
        yield decoder.decompress(data)


def _decoder(name: str) -> tuple[Any, tuple[type[Exception], ...]]:
    """Return an object with ``decompress``, ``eof`` and ``unused_data``, and what it raises for a damaged stream."""
    simple: dict[str, Callable[[], Any]] = {
        "gzip": lambda: zlib.decompressobj(31),
        "deflate": lambda: zlib.decompressobj(-15),
        "zlib": zlib.decompressobj,
        "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MAX_WINDOW),
        "lzma": lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_MAX_WINDOW),
        "bzip2": bz2.BZ2Decompressor,
    }
    if name in simple:
        return simple[name](), _ERRORS
    if name != ZSTD:
        raise Unsupported(f"{name} compression is not read here")
    for module in ("compression.zstd", "zstandard"):
        try:
            found = importlib.import_module(module)
        except ImportError:
            continue
        decoder = found.ZstdDecompressor()
        return (decoder.decompressobj() if module == "zstandard" else decoder), (*_ERRORS, found.ZstdError)
    raise Unsupported("zstd needs Python 3.14 or the `zstandard` package")
