"""tar archives made member by member, honest or not."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

FILE, HARD, SYM = tarfile.REGTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE
CHAR, BLOCK, FOLDER, FIFO = tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE

Entry = tuple[str, bytes, bytes | str, int]
"""Name, type, content or target, mode."""


def entry(name: str, content: bytes | str = b"", kind: bytes = FILE, mode: int = 0o644) -> Entry:
    """Return an entry with what is usual."""
    return name, kind, content, mode


def make_tar(entries: Iterable[Entry], format: int = tarfile.PAX_FORMAT) -> bytes:
    """Return an archive of these entries, in their order."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for name, kind, content, mode in entries:
            info = tarfile.TarInfo()
            info.name, info.type, info.mode = name, kind, mode
            data = b""
            if isinstance(content, str):
                info.linkname = content
            else:
                data, info.size = content, len(content)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def write_tar(path: Path, *entries: Entry) -> Path:
    """Write an archive of these entries and return its path."""
    path.write_bytes(make_tar(entries))
    return path
