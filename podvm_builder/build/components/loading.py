"""From a component lock to the files of an image, each checked against the lock, and each origin proven anew."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from podvm_builder.build.components.contents import read_files
from podvm_builder.build.components.origin import check_origin
from podvm_builder.build.components.supplier import Supplier, load_root
from podvm_builder.errors import Finding
from podvm_builder.guest.linking import check_program
from podvm_builder.model.components import (
    PROGRAM_MODE,
    ComponentLock,
    GuestComponents,
    LockedComponent,
    SourceKind,
)
from podvm_builder.model.manifest import ComponentRecord
from podvm_builder.model.recipe import RecipeFile, RecipeTree
from podvm_builder.supply.lock_document import lock_digest
from podvm_builder.tools.process import Say


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A component that is at hand and is what its lock says."""

    component: LockedComponent
    contents: dict[str, bytes]
    """By path in the image."""
    verification: str
    """``verified``, ``unverified`` or ``selftest``."""
    note: str
    """Who signed it, or why it was accepted."""


def load_lock(lock: ComponentLock, supplier: Supplier, *, say: Say, root: bytes | None = None) -> GuestComponents:
    """Return the programs of a lock.

    What the store has is not asked of the network; nothing that was checked when the lock was made is taken on trust.

    Args:
        lock: which programs.
        supplier: based on the lock's folder.
        say: takes a line for each component.
        root: a trusted root in place of the lock's.

    Raises:
        Finding: PVB742, something has another digest; PVB750, an origin is not what its policy wants.
        RemoteError, InputError, FormatError, Lacking: something cannot be had or read.
    """
    files: dict[str, RecipeFile] = {}
    records: list[ComponentRecord] = []
    for one in check_lock(lock, supplier, root=root):
        say(f"{one.component.name}: {one.verification}, {one.note}")
        for file in one.component.files:
            files[file.path.lstrip("/")] = RecipeFile(data=one.contents[file.path], mode=file.mode)
            records.append(_record(one, file.path, file.digest))
    return GuestComponents(
        identity=lock_identity(lock),
        files={path: files[path] for path in sorted(files)},
        records=tuple(sorted(records, key=lambda record: record.path)),
        arch=lock.arch,
        tee=lock.tee,
    )


def lock_identity(lock: ComponentLock) -> RecipeTree:
    """Return what of a lock enters ``rootfs_id``: its own digest, which covers every program's."""
    return {"components.lock": RecipeFile(data=lock_digest(lock).encode())}


def check_lock(lock: ComponentLock, supplier: Supplier, *, root: bytes | None = None) -> Iterator[Loaded]:
    """Yield a lock's components one by one, each after it was fetched and checked.

    Raises:
        Finding, RemoteError, InputError, FormatError, Lacking: see :func:`load_lock`.
    """
    if root is None and lock.trusted_root is not None:
        root = load_root(lock.trusted_root, supplier)
    for component in lock.components:
        yield _load(component, lock.arch, supplier, root)


def _load(component: LockedComponent, arch: str, supplier: Supplier, root: bytes | None) -> Loaded:
    source = component.source
    blobs = supplier.blobs(source)
    if source.kind in (SourceKind.ARTIFACT, SourceKind.IMAGE):
        supplier.check_manifest(source)
    contents = read_files(source, component.files, blobs)
    for file in component.files:
        digest = f"sha256:{hashlib.sha256(contents[file.path]).hexdigest()}"
        if digest != file.digest:
            raise Finding(
                f"`{component.name}`: `{file.path}` has the digest {digest}, and the lock wants {file.digest}",
                code="PVB742",
                hint="lock again"
                if source.kind is SourceKind.SELFTEST
                else "somebody wrote this lock otherwise than with `components lock`: lock again",
            )
        if file.mode == PROGRAM_MODE:
            check_program(contents[file.path], what=component.name, arch=arch)
    verification, note = _verified(component, supplier, root)
    return Loaded(component=component, contents=contents, verification=verification, note=note)


def _verified(component: LockedComponent, supplier: Supplier, root: bytes | None) -> tuple[str, str]:
    if component.source.kind is SourceKind.SELFTEST:
        return "selftest", "a stand-in of podvm-build"
    if component.policy is None:
        return "unverified", component.unverified or "nothing says how to verify it"
    if component.bundle is None or root is None:
        raise Finding(
            f"`{component.name}` has a policy, and the lock has no {'bundle' if component.bundle is None else 'root'}",
            code="PVB754",
            hint="lock again",
        )
    bundle = supplier.content(component.bundle, source=component.source)
    signer = check_origin(component.name, bundle, root=root, source=component.source, policy=component.policy)
    return "verified", f"signed by {signer.identity}"


def _record(one: Loaded, path: str, digest: str) -> ComponentRecord:
    source = one.component.source
    location = f" {source.location}" if source.location else ""
    return ComponentRecord(
        name=one.component.name,
        path=path,
        sha256=digest.removeprefix("sha256:"),
        source=f"{source.kind.value}{location}",
        digest=source.digest,
        licence=one.component.licence,
        verification=one.verification,
        note=one.note,
    )
