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
_PIECE = 16 << 10
"""Bytes fed at a time: small, because a decoder may make thousands of times as much of them."""


class Unsupported(Exception):
    """Something that cannot be read here; the message says what and why, and becomes a register's reason."""


def name_of(data: bytes) -> str | None:
    """Return the compression of a stream by its first bytes, None where they are of none known."""
    return next((name for magic, name in MAGICS.items() if data.startswith(magic)), None)


def decompress(name: str, data: bytes, *, limit: int, cut: bool = False) -> tuple[bytes, int]:
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


def pieces(name: str, data: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield what comes out of a stream piece by piece, each with the number of bytes of ``data`` read so far.

    Raises:
        FormatError: the stream is damaged or ends too early.
        Unsupported: it cannot be read here.
    """
    decoder, errors = _decoder(name)
    for at in range(0, len(data), _PIECE):
        try:
            piece = decoder.decompress(data[at : at + _PIECE])
        except errors as error:
            raise FormatError(f"{name} stream: {error}", at, code=CODE) from error
        end = min(at + _PIECE, len(data))
        if decoder.eof:
            yield piece, end - len(decoder.unused_data)
            return
        yield piece, end
    raise FormatError(f"{name} stream: it ends too early", len(data), code=CODE)


def _decoder(name: str) -> tuple[Any, tuple[type[Exception], ...]]:
    """Return an object with ``decompress``, ``eof`` and ``unused_data``, and what it raises for a damaged stream."""
    simple: dict[str, Callable[[], Any]] = {
        "gzip": lambda: zlib.decompressobj(31),
        "deflate": lambda: zlib.decompressobj(-15),
        "zlib": zlib.decompressobj,
        "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ),
        "lzma": lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE),
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
