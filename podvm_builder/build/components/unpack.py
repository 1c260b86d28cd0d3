"""Single files out of archives and container images, in memory: nothing is unpacked to a disk."""

from __future__ import annotations

import tarfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, cast

from podvm_builder.errors import FormatError, Lacking
from podvm_builder.formats.compression import Unsupported, name_of, pieces

CODE = "PVB746"
_MAX_MEMBERS = 1 << 20
"""Members of one archive that are credible."""
_MAX_OUT = 4 << 30
"""Bytes that one archive may unpack to."""
_MAGIC = 8
"""Bytes that say which compression it is."""


def read_members(path: Path, names: Collection[str], *, limit: int) -> dict[str, bytes]:
    """Return regular files of a tar archive, which may be compressed by gzip, xz, bzip2 or zstd.

    Args:
        path: the archive.
        names: paths inside it, without leading ``./``.
        limit: bytes that one file may have.

    Returns:
        Those that are there; of one that is there more than once the last, as tar unpacks it.

    Raises:
        FormatError: PVB746, it is no archive, is damaged, or a file is larger than the limit.
        Lacking: PVB746, it is compressed in a way that cannot be read here.
    """
    wanted = {str(PurePosixPath(name)): name for name in names}
    found: dict[str, bytes] = {}
    try:
        stream = cast(IO[bytes], _Stream(path.read_bytes()))
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for count, member in enumerate(archive):
                if count >= _MAX_MEMBERS:
                    raise FormatError(f"`{path.name}` has more members than are credible", code=CODE)
                name = wanted.get(str(PurePosixPath(member.name.lstrip("/"))))
                if name is None:
                    continue
                file = archive.extractfile(member) if member.isreg() else None
                if file is None:
                    found.pop(name, None)
                    continue
                if member.size > limit:
                    raise FormatError(f"`{member.name}` has more than {limit >> 20} MiB", code=CODE)
                found[name] = file.read()
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise FormatError(f"`{path.name}` is no archive, or a damaged one: {error}", code=CODE) from None
    except FormatError as error:
        raise FormatError(f"`{path.name}` is no archive, or a damaged one: {error.what}", code=CODE) from None
    except Unsupported as error:
        raise Lacking(f"`{path.name}` cannot be unpacked: {error}", code=CODE) from None
    return found


def read_image_path(layers: Sequence[Path], path: str, *, limit: int) -> bytes | None:
    """Return a regular file of a container image; None where the image has none at that path.

    Args:
        layers: the image's, lowest first.
        path: without leading slash.
        limit: bytes that it may have.

    Raises:
        FormatError: PVB746, a layer is no archive, or the file is larger than the limit.
    """
    pure = PurePosixPath(path)
    # what removes a path from the layers below (OCI Image Specification, layer.md, "Whiteouts")
    gone = {str(pure.with_name(f".wh.{pure.name}"))}
    for folder in list(pure.parents)[:-1]:
        gone |= {str(folder / ".wh..wh..opq"), str(folder.with_name(f".wh.{folder.name}"))}
    for layer in reversed(layers):
        found = read_members(layer, [path, *gone], limit=limit)
        if path in found:
            return found[path]
        if found:
            return None
    return None


class _Stream:
    """What comes out of an archive's compression, as a file to read forwards."""

    def __init__(self, data: bytes) -> None:
        self._pieces = _decompressed(data)
        self._rest = b""
        self._total = 0

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes, fewer at the end alone."""
        parts, length = [self._rest], len(self._rest)
        while length < size and (piece := next(self._pieces, None)) is not None:
            parts.append(piece)
            length += len(piece)
            self._total += len(piece)
            if self._total > _MAX_OUT:
                raise FormatError(f"it unpacks to more than {_MAX_OUT >> 30} GiB", code=CODE)
        whole = b"".join(parts)
        self._rest = whole[size:]
        return whole[:size]


def _decompressed(data: bytes) -> Iterator[bytes]:
    name = name_of(data)
    if name is None:
        yield data
        return
    rest = memoryview(data)
    # parallel compressors write one stream after the other
    while name_of(bytes(rest[:_MAGIC])) == name:
        end = 0
        for piece, used in pieces(name, rest):
            end = used
            yield piece
        rest = rest[end:]
