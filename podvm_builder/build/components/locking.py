"""From a component set to its lock: every source pinned, every program looked at, every origin proven."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path, PurePath

from podvm_builder.build.components.contents import read_files
from podvm_builder.build.components.origin import choose_bundle
from podvm_builder.build.components.supplier import EMBEDDED, Supplier
from podvm_builder.errors import InputError
from podvm_builder.guest.linking import check_program
from podvm_builder.model.components import (
    DOCUMENT_MODE,
    PROGRAM_MODE,
    ComponentLock,
    ComponentSet,
    LockedComponent,
    LockedFile,
    Pinned,
    Source,
    SourceKind,
    WantedComponent,
    WantedFile,
)
from podvm_builder.supply.set_document import PAUSE_BUNDLE
from podvm_builder.tools.process import Say
from podvm_builder.tools.provenance import embedded_root


def lock_set(wanted: ComponentSet, supplier: Supplier, *, say: Say) -> ComponentLock:
    """Return the lock of a set.

    Args:
        wanted: the set.
        supplier: based on the set's folder.
        say: takes a line for each component.

    Raises:
        Finding: PVB750 or PVB754, a component's origin is not what its policy wants.
        InputError, FormatError, RemoteError, Lacking: see :class:`~podvm_builder.build.components.supplier.Supplier`,
            :func:`~podvm_builder.build.components.contents.read_files` and
            :func:`~podvm_builder.guest.linking.check_program`.
    """
    root = None
    if any(one.policy is not None for one in wanted.components):
        root = pin_root(wanted.trusted_root, supplier)
    locked = []
    for component in wanted.components:
        one, note = _lock(component, wanted.arch, supplier, root)
        locked.append(one)
        say(f"{one.name}: {one.source.digest}, {note}")
    return ComponentLock(arch=wanted.arch, tee=wanted.tee, trusted_root=root, components=tuple(locked))


def pin_root(location: str, supplier: Supplier) -> Pinned:
    """Put a trusted root into the store: the library's own, or a file.

    Raises:
        InputError: PVB743, the file cannot be read.
        Lacking: PVB752, there is no library.
    """
    if location == EMBEDDED:
        return supplier.pin_bytes(embedded_root(), EMBEDDED)
    return supplier.pin_path(location)


def rebase(lock: ComponentLock, *, of: Path, to: Path) -> ComponentLock:
    """Return a lock whose paths are relative to another folder: that of the lock and not of the set.

    Raises:
        InputError: PVB735, a path would lead out of it.
    """
    if of.resolve() == to.resolve():
        return lock

    def moved(location: str) -> str:
        path = os.path.relpath(of.resolve() / location, to.resolve())
        if PurePath(path).parts[0] == "..":
            raise InputError(
                f"`{location}` is not in the folder of the lock, `{to}`",
                code="PVB735",
                hint="write the lock beside the set, or into a folder above it",
            )
        return path

    def pinned(one: Pinned | None) -> Pinned | None:
        named = one is None or one.origin in (EMBEDDED, "referrer") or "://" in one.origin
        return one if one is None or named else replace(one, origin=moved(one.origin))

    def component(one: LockedComponent) -> LockedComponent:
        source = one.source
        if source.kind is SourceKind.PATH:
            source = replace(source, location=moved(source.location))
        return replace(one, source=source, bundle=pinned(one.bundle))

    return replace(lock, trusted_root=pinned(lock.trusted_root), components=tuple(map(component, lock.components)))


def _lock(wanted: WantedComponent, arch: str, supplier: Supplier, root: Pinned | None) -> tuple[LockedComponent, str]:
    source = supplier.pin(wanted, arch)
    files = _files_of(wanted)
    contents = read_files(source, files, supplier.blobs(source))
    locked = tuple(
        LockedFile(
            path=file.path,
            member=file.member,
            mode=file.mode,
            digest=f"sha256:{hashlib.sha256(contents[file.path]).hexdigest()}",
            size=len(contents[file.path]),
        )
        for file in files
    )
    for file in files:
        if file.mode == PROGRAM_MODE:
            check_program(contents[file.path], what=wanted.name, arch=arch)
    bundle, note = _origin(wanted, source, supplier, root)
    component = LockedComponent(
        name=wanted.name,
        source=source,
        licence=wanted.licence,
        files=locked,
        policy=wanted.policy,
        bundle=bundle,
        unverified=wanted.unverified,
    )
    return component, note


def _files_of(wanted: WantedComponent) -> tuple[WantedFile, ...]:
    if not any(file.path.startswith(f"{PAUSE_BUNDLE}/rootfs/") for file in wanted.files):
        return wanted.files
    config = WantedFile(path=f"{PAUSE_BUNDLE}/config.json", member=None, mode=DOCUMENT_MODE)
    return tuple(sorted((*wanted.files, config), key=lambda file: file.path))


def _origin(
    wanted: WantedComponent, source: Source, supplier: Supplier, root: Pinned | None
) -> tuple[Pinned | None, str]:
    if wanted.policy is None or root is None:
        reason = wanted.unverified
        return None, "a stand-in" if reason is None else f"accepted unverified: {reason}"
    bundle, signer = choose_bundle(
        wanted.name,
        supplier.bundles(wanted, source),
        root=supplier.content(root),
        source=source,
        policy=wanted.policy,
    )
    return bundle, f"signed by {signer.identity}"
