"""Proof that a build is reproducible: a second one under other conditions, compared bit for bit."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from podvm_builder.build.image import Built, Options, inputs_of
from podvm_builder.build.mkosi import Conditions, run_mkosi
from podvm_builder.build.outputs import read_packages
from podvm_builder.build.progress import Steps
from podvm_builder.errors import BuildFailed, Finding
from podvm_builder.formats.gpt import Partition, parse_gpt
from podvm_builder.formats.readers import chunks, window
from podvm_builder.formats.uki import SECTIONS, parse_uki
from podvm_builder.model.layout import RAW, UKI
from podvm_builder.model.plan import Plan
from podvm_builder.model.reader import BinaryReader
from podvm_builder.tools.cache import work_folder
from podvm_builder.tools.files import FileReader, sha256_file
from podvm_builder.tools.sandbox import Bind
from podvm_builder.tools.tree import ToolsTree

STEPS = ("verify",)
"""What :func:`verify_image` adds to the steps of a build."""

DIFFERENCES = (
    "another folder",
    "a clock 400 days ahead",
    "umask 077",
    "another locale and time zone",
    "one processor",
    "packages installed anew",
)
"""What is other in the second build. The clock is that of mkosi and of the programs of the tools tree; programs of the
image's own root, such as maintainer scripts, see the real one."""

_CHUNK = 1 << 20
_ROOT_PARTITIONS = ("root-x86-64", "root-arm64", "root")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """Two builds that are the same, bit for bit."""

    raw: str
    """SHA-256 of the disk image, hex."""
    uki: str
    """SHA-256 of the UKI, hex."""


def verify_image(plan: Plan, built: Built, *, options: Options, steps: Steps) -> Verified:
    """Build a plan again and compare.

    The packages are the very files that the first build fetched, so that an archive that moves on in between is not
    taken for a difference.

    Raises:
        Finding: PVB412, naming the first thing that differs.
        BuildFailed, Lacking: the second build failed, as :func:`podvm_builder.build.image.build_image`.
    """
    log = options.out / f"{plan.folder}.verify.log"
    with steps.step("verify"), work_folder(options.cache) as work, _umask(0o077):
        made = run_mkosi(
            inputs_of(plan, built.recipe),
            tree=built.tree,
            cache=options.cache,
            work=work,
            mirrors=built.mirrors,
            log=log,
            conditions=Conditions(
                incremental=False,
                cached_packages_only=True,
                depth=("a-second-build", "in-another-folder"),
                env={"LC_ALL": "C", "TZ": "Asia/Kathmandu"},
                cpus=(min(os.sched_getaffinity(0)),),
                days_ahead=400,
            ),
            progress=steps.say,
        )
        if read_packages(made) != built.manifest.packages:
            raise BuildFailed(
                "the second build got other packages than the first",
                code="PVB414",
                hint="another build has fetched newer package lists meanwhile: run it again",
            )
        verified = Verified(raw=sha256_file(made / RAW), uki=sha256_file(made / UKI))
        files = built.manifest.files
        if (verified.raw, verified.uki) != (files[RAW].sha256, files[UKI].sha256):
            where = _first_difference(built.folder, made, work, tree=built.tree)
            raise Finding(
                f"two builds of `{plan.target}` differ: {where}",
                code="PVB412",
                hint=f"the second one had {', '.join(DIFFERENCES)}; its log is {log}",
            )
    log.unlink(missing_ok=True)
    return verified


@contextmanager
def _umask(mask: int) -> Iterator[None]:
    former = os.umask(mask)
    try:
        yield
    finally:
        os.umask(former)


def _first_difference(one: Path, other: Path, work: Path, *, tree: ToolsTree) -> str:
    """Say in words what differs first: a file of the root, else a section of the UKI, else a place on the disk."""
    with FileReader(one / RAW) as first, FileReader(other / RAW) as second:
        partitions = [parse_gpt(reader).partitions for reader in (first, second)]
        names = [[(part.name, part.size) for part in parts] for parts in partitions]
        if names[0] == names[1]:
            # the root first: its hash is in the UKI and its tree in the verity partition, so they differ after it
            pairs = sorted(zip(*partitions, strict=True), key=lambda pair: pair[0].name not in _ROOT_PARTITIONS)
            for mine, its in pairs:
                at = first_difference(_extent(first, mine), _extent(second, its))
                if at is None:
                    continue
                if mine.name in _ROOT_PARTITIONS:
                    return _root_difference((one, mine), (other, its), work, tree) or _place(mine, at)
                if mine.name == "esp" and (section := _section_difference(one / UKI, other / UKI)):
                    return section
                return _place(mine, at)
        else:
            return f"the partitions of `{RAW}` are {names[0]} and {names[1]}"
        at = first_difference(first, second)
    if at is not None:
        return f"`{RAW}` at byte {at:#x}, outside of the partitions"
    return _section_difference(one / UKI, other / UKI) or f"`{UKI}` outside of its sections"


def first_difference(one: BinaryReader, other: BinaryReader) -> int | None:
    """Return the offset of the first byte that differs, or None if both are the same."""
    size = min(one.size, other.size)
    for offset in range(0, size, _CHUNK):
        length = min(_CHUNK, size - offset)
        mine, its = one.read_at(offset, length), other.read_at(offset, length)
        if mine != its:
            return offset + next(index for index in range(length) if mine[index] != its[index])
    return None if one.size == other.size else size


def _extent(reader: BinaryReader, partition: Partition) -> BinaryReader:
    return window(reader, partition.offset, partition.size)


def _place(partition: Partition, at: int) -> str:
    return f"partition `{partition.name}` of `{RAW}` at byte {at:#x}"


def _section_difference(one: Path, other: Path) -> str | None:
    with FileReader(one) as first, FileReader(other) as second:
        mine, its = parse_uki(first).sections, parse_uki(second).sections
        for name in SECTIONS:
            if name in mine and name in its:
                at = first_difference(mine[name], its[name])
                if at is not None:
                    return f"section `{name}` of `{UKI}` at byte {at:#x}"
            elif name in mine or name in its:
                return f"section `{name}` is in one `{UKI}` only"
    return None


def _root_difference(
    one: tuple[Path, Partition], other: tuple[Path, Partition], work: Path, tree: ToolsTree
) -> str | None:
    """Unpack both roots in the tools tree and return the first file that differs; None if they cannot be unpacked."""
    listings = []
    for name, (folder, partition) in (("one", one), ("other", other)):
        target = work / name
        target.mkdir()
        if not _unpack(folder / RAW, partition, target, tree):
            return None
        listings.append(_listing(target / "files"))
    mine, its = listings
    for path in sorted(mine.keys() | its.keys()):
        if path not in mine or path not in its:
            return f"`/{path}` of the root is in one of them only"
        for what, a, b in zip(("mode", "owner", "time", "content"), mine[path], its[path], strict=True):
            if a != b:
                return f"`/{path}` of the root, its {what}"
    return None


def _unpack(image: Path, partition: Partition, target: Path, tree: ToolsTree) -> bool:
    """Write the files of a squashfs or erofs partition below ``target/files``; False if that fails."""
    with FileReader(image) as reader, (target / "partition").open("wb") as file:
        extent = _extent(reader, partition)
        for part in chunks(extent):
            file.write(part)
        squashfs = extent.read_at(0, 4) == b"hsqs"
    unpack = (
        ["unsquashfs", "-quiet", "-no-progress", "-dest", "/mnt/root/files", "/mnt/root/partition"]
        if squashfs
        else ["fsck.erofs", "--extract=/mnt/root/files", "/mnt/root/partition"]
    )
    return tree.run(unpack, binds=[Bind(host=target, inside="/mnt/root")]).returncode == 0


def _listing(root: Path) -> Mapping[str, tuple[int, tuple[int, int], int, str]]:
    """Return mode, owner, time and content of every file of an unpacked root."""
    found = {}
    for path in root.rglob("*"):
        status = path.lstat()
        if path.is_symlink():
            content = str(path.readlink())
        elif path.is_file():
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            content = ""
        found[str(path.relative_to(root))] = (
            status.st_mode,
            (status.st_uid, status.st_gid),
            int(status.st_mtime),
            content,
        )
    return found
