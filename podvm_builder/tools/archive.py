"""Files out of archives and container images, with limits on what that may cost.

Compression is told by the first bytes. Everything is streamed; an archive is read twice, first to see that all of it is
as it must be, then for the content, so that nothing is written of one that is refused.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from podvm_builder.errors import FormatError, InputError
from podvm_builder.formats.compression import decompressed
from podvm_builder.formats.layers import LayerTree
from podvm_builder.formats.members import ArchiveTree, parts_of, walk
from podvm_builder.formats.tar import CODE, UNREAD, Member, MemberKind, read_tar
from podvm_builder.tools.files import writing
from podvm_builder.tools.inputs import open_input
from podvm_builder.tools.sandbox import remove

TOO_MUCH = "PVB722"
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What an archive may unpack to."""

    members: int = 1 << 17
    total: int = 8 << 30
    """Bytes of all that comes out of the compression."""
    file: int = 1 << 30
    """Bytes of one file."""
    ratio: int = 200
    """Bytes that may come out for one that goes in, once :attr:`free` have. Programs reach 10, deflate 1032."""
    free: int = 64 << 20
    """Bytes that may come out whatever goes in: small archives of zeros do no harm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveFile:
    """A file of an archive."""

    data: bytes
    mode: int
    """0o755 if anybody may run it, else 0o644: no other bit of an archive counts."""


def read_members(
    archive: Path, wanted: Collection[str], *, limits: Limits | None = None, what: str | None = None
) -> dict[str, ArchiveFile]:
    """Read files of a tar archive by name; links inside it are followed.

    All of it is checked, whatever is wanted.

    Args:
        archive: tar; zstd, xz, gzip, bzip2 or nothing around it.
        wanted: names of members, with or without ``./``.
        limits: what it may unpack to; the defaults if None.
        what: what messages call it; its path if None.

    Raises:
        FormatError: PVB720 damaged, PVB721 unsafe, PVB722 beyond the limits, PVB724 not read here.
        InputError: PVB320 unreadable, PVB723 a name that is missing, PVB725 one that is no file.
    """
    bounds, name = limits or Limits(), what or str(archive)
    with _open(archive) as file:
        tree, found = ArchiveTree(), {}
        places = {parts_of(one): one for one in wanted}
        for member, content in _members(file, bounds):
            if tree.add(member) in places and member.kind is MemberKind.FILE:
                found[member.number] = b"".join(content)
        tree.check()
        members = {one: tree.file(one, name) for one in wanted}
        # what a link leads to may have gone by before the link came
        missing = {member.number for member in members.values()} - set(found)
        if missing:
            found |= _contents(file, missing, bounds)
    return {one: ArchiveFile(data=found[member.number], mode=_mode(member)) for one, member in members.items()}


def extract(archive: Path, into: Path, *, limits: Limits | None = None) -> None:
    """Unpack a tar archive into a new folder, whole or not at all.

    Files have mode 0755 or 0644, folders 0755, all the time 0 and this user's ownership, whatever the archive says and
    the umask is: the same archive gives the same tree.

    Args:
        archive: tar; zstd, xz, gzip, bzip2 or nothing around it.
        into: the folder; it must not be there.
        limits: what it may unpack to; the defaults if None.

    Raises:
        FormatError: PVB720 damaged, PVB721 unsafe, PVB722 beyond the limits, PVB724 not read here.
        InputError: PVB320 it cannot be read; PVB324 the folder is there.
        Lacking: PVB321 or PVB322.
    """
    bounds = limits or Limits()
    if os.path.lexists(into):
        raise InputError(f"`{into}` is there already", code="PVB324", hint="name a place for a new folder")
    with _open(archive) as file:
        tree = ArchiveTree()
        listed = []
        for member, _ in _members(file, bounds):
            tree.add(member)
            listed.append(member)
        tree.check()
        with writing(into):
            into.parent.mkdir(parents=True, exist_ok=True)
            work = Path(tempfile.mkdtemp(dir=into.parent, prefix=".unpack-"))
        try:
            with writing(into):
                _write(file, tree, listed, work, bounds)
                work.rename(into)
        except BaseException:
            remove(work)
            raise


def read_image_path(layers: Sequence[Path], path: str, *, limits: Limits | None = None) -> ArchiveFile:
    """Read one file of a container image; :func:`read_image_paths` says how."""
    return read_image_paths(layers, [path], limits=limits)[path]


def read_image_paths(
    layers: Sequence[Path], paths: Collection[str], *, limits: Limits | None = None, what: str = "the image"
) -> dict[str, ArchiveFile]:
    """Read files of a container image: whiteouts count, and links are followed within the image.

    Args:
        layers: the layers' archives, the lowest first.
        paths: with or without a leading slash.
        limits: what each layer may unpack to; the defaults if None.
        what: what messages call the image.

    Raises:
        FormatError: PVB720 damaged, PVB721 unsafe, PVB722 beyond the limits, PVB724 not read here.
        InputError: PVB320 unreadable, PVB723 a path that is missing, PVB725 one that is no file.
    """
    bounds = limits or Limits()
    tree = LayerTree()
    for layer in layers:
        with _open(layer) as file:
            tree.apply(member for member, _ in _members(file, bounds))
    places = {path: tree.file(path, what) for path in paths}
    found: dict[tuple[int, int], bytes] = {}
    for number in sorted({layer for layer, _ in places.values()}):
        with _open(layers[number]) as file:
            wanted = {member.number for layer, member in places.values() if layer == number}
            found |= {(number, one): data for one, data in _contents(file, wanted, bounds).items()}
    return {
        path: ArchiveFile(data=found[layer, member.number], mode=_mode(member))
        for path, (layer, member) in places.items()
    }


def _open(path: Path) -> BinaryIO:
    """Open an archive.

    Raises:
        InputError: PVB320, it cannot be read, and read again from its beginning.
    """
    file = open_input(path)
    if not file.seekable():
        file.close()
        raise InputError(f"`{path}` is a pipe, and an archive is read twice", code="PVB320", hint="give a file")
    return file


def _members(file: BinaryIO, limits: Limits) -> Iterator[tuple[Member, Iterator[memoryview]]]:
    """Yield an archive's members, from its beginning."""
    file.seek(0)
    for member, content in read_tar(_bounded(file, limits)):
        if member.number >= limits.members:
            raise FormatError(f"archive: more than {limits.members} members", code=TOO_MUCH)
        if member.size > limits.file:
            raise FormatError(f"archive: member `{member.name}` has more than {limits.file} bytes", code=TOO_MUCH)
        yield member, content


def _bounded(file: BinaryIO, limits: Limits) -> Iterator[bytes]:
    """Yield what comes out of a file's compression, as long as it is not too much of it."""
    taken = given = 0

    def chunks() -> Iterator[bytes]:
        nonlocal taken
        while chunk := file.read(_CHUNK):
            taken += len(chunk)
            yield chunk

    for piece in decompressed(chunks(), unread=UNREAD):
        given += len(piece)
        if given > limits.total:
            raise FormatError(f"archive: more than {limits.total} bytes come out", code=TOO_MUCH)
        if given > max(limits.free, limits.ratio * taken):
            raise FormatError(f"archive: more than {limits.ratio} bytes come out for each that goes in", code=TOO_MUCH)
        yield piece


def _contents(file: BinaryIO, numbers: Collection[int], limits: Limits) -> Mapping[int, bytes]:
    """Return the content of members by their number.

    Raises:
        FormatError: PVB720, the archive is another one than it was a moment ago.
    """
    found = {}
    for member, content in _members(file, limits):
        if member.number in numbers:
            found[member.number] = b"".join(content)
            if len(found) == len(numbers):
                return found
    raise FormatError("archive: it changed while it was read", code=CODE)


def _write(file: BinaryIO, tree: ArchiveTree, listed: Sequence[Member], work: Path, limits: Limits) -> None:
    """Write the tree: files while the archive is read again, then what refers to them."""
    folders = [work, *(work / path for path, node in walk(tree.root) if node.kind is MemberKind.FOLDER)]
    for folder in folders[1:]:
        folder.mkdir()
    for member, content in _members(file, limits):
        if member.number >= len(listed) or member != listed[member.number]:
            raise FormatError("archive: it changed while it was read", code=CODE)
        if member.kind is MemberKind.FILE:
            path = work.joinpath(*parts_of(member.name))
            with path.open("xb") as out:
                for piece in content:
                    out.write(piece)
            path.chmod(_mode(member))
            os.utime(path, (0, 0))
    for member in listed:
        path = work.joinpath(*parts_of(member.name))
        if member.kind is MemberKind.HARDLINK:
            path.hardlink_to(work.joinpath(*tree.hard_link_target(member)))
        elif member.kind is MemberKind.SYMLINK:
            path.symlink_to(member.target)
            os.utime(path, (0, 0), follow_symlinks=False)
    for folder in reversed(folders):
        folder.chmod(0o755)
        os.utime(folder, (0, 0))


def _mode(member: Member) -> int:
    return 0o755 if member.mode & 0o111 else 0o644
