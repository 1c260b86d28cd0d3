"""Decompression of one stream, with a limit on what comes out, and with what stands behind the stream.

gzip, xz, lzma and bzip2 are in the standard library; Zstandard is from Python 3.14 on, before that it is in the
``zstandard`` package. What cannot be decompressed is said so by name.
"""

from __future__ import annotations

import bz2
import importlib
import lzma
import zlib
from collections.abc import Callable, Iterator
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
