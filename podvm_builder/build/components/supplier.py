"""Where components come from, as one object: it pins a source, and has the bytes of a pinned one.

What is in the store is never asked of the network. A pinned source is always content by its digest, so that where the
bytes came from this time does not matter.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from podvm_builder.errors import Finding, InputError, Lacking
from podvm_builder.formats.oci import Index, Manifest, parse_manifest
from podvm_builder.guest.components import selftest
from podvm_builder.model.components import ComponentLock, Layer, Pinned, Source, SourceKind, WantedComponent
from podvm_builder.model.oci import Descriptor, Reference
from podvm_builder.tools.download import check_url, download
from podvm_builder.tools.inputs import open_input
from podvm_builder.tools.oci.store import BlobStore
from podvm_builder.tools.process import Say
from podvm_builder.tools.provenance import MAX_BUNDLE, embedded_root

if TYPE_CHECKING:
    from podvm_builder.tools.oci.client import RegistryClient

MAX_SOURCE = 512 << 20
"""Bytes of a program or an archive; kata-agent's has some ten million."""
EMBEDDED = "sigstore"
"""Stands for the trusted root that the installed library brings."""
BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle"
"""What the artifact types of Sigstore bundles begin with, whatever their version."""
_MAX_BUNDLES = 16
"""Bundles of one artifact that are looked at."""


@dataclass(slots=True, kw_only=True)
class Supplier:
    """Sources by name, through the store."""

    base: Path
    """The folder that paths are relative to: that of the set or the lock."""
    store: BlobStore
    open_client: Callable[[], RegistryClient]
    """Opens the registry client; called when a registry is first needed, and then once."""
    download: Callable[[str, int], tuple[str, int]]
    """Puts what a URL serves into the store, at most so many bytes."""
    _client: RegistryClient | None = field(default=None, init=False)

    @property
    def client(self) -> RegistryClient:
        """The registry client."""
        if self._client is None:
            self._client = self.open_client()
        return self._client

    def pin(self, wanted: WantedComponent, arch: str) -> Source:
        """Return what a component's source is now, its bytes in the store.

        Raises:
            InputError: PVB734, it is not what the set pins; PVB741, it is not of a form that is read; others of what
                is asked.
            RemoteError: a registry or server refused or did not answer.
        """
        if wanted.kind in (SourceKind.ARTIFACT, SourceKind.IMAGE):
            return self._pin_manifest(wanted, arch)
        if wanted.kind is SourceKind.SELFTEST:
            return self._pin_selftest(wanted)
        if wanted.kind is SourceKind.URL:
            digest, size = self.download(wanted.location, MAX_SOURCE)
        else:
            digest, size = self._add(self.base / wanted.location, MAX_SOURCE)
        if wanted.digest is not None and digest != wanted.digest:
            raise InputError(
                f"`{wanted.location}` has the digest {digest}, and the set wants {wanted.digest}",
                code="PVB742",
                place=wanted.place,
                hint="find out why it changed before you change the set",
            )
        return Source(kind=wanted.kind, location=wanted.location, digest=digest, size=size)

    def blobs(self, source: Source) -> list[Path]:
        """Return the files of a pinned source: its layers, or the one archive or program; none of a stand-in's.

        Raises:
            Finding: PVB742, what is there now has another digest.
            RemoteError, InputError: it is not in the store and cannot be had.
        """
        if source.kind is SourceKind.SELFTEST:
            return []
        if source.kind in (SourceKind.ARTIFACT, SourceKind.IMAGE):
            return self._layers(source)
        if (found := self.store.get(source.digest, source.size)) is not None:
            return [found]
        if source.kind is SourceKind.URL:
            digest, _ = self.download(source.location, MAX_SOURCE)
        else:
            digest, _ = self._add(self.base / source.location, MAX_SOURCE)
        return [self._got(source.location, digest, source.digest)]

    def check_manifest(self, source: Source) -> None:
        """See that a pinned manifest has the pinned layers, and that a pinned index has the manifest.

        What is signed is the manifest or the index; what is baked comes out of the layers.

        Raises:
            RemoteError: they are not in the store and cannot be had.
            FormatError: they are none.
            Finding: PVB742, they say otherwise.
        """
        document = self._document(source, source.digest)
        layers = [] if isinstance(document, Index) else [(layer.digest, layer.size) for layer in document.layers]
        if layers != [(layer.digest, layer.size) for layer in source.layers]:
            raise Finding(
                f"the layers that the lock has of `{source.location}` are not those of its manifest",
                code="PVB742",
                hint="somebody wrote this lock otherwise than with `components lock`: lock again",
            )
        if source.index is not None:
            index = self._document(source, source.index)
            if isinstance(index, Manifest) or source.digest not in [one.digest for one in index.manifests]:
                raise Finding(
                    f"the index of `{source.location}` does not have the manifest that the lock has",
                    code="PVB742",
                    hint="somebody wrote this lock otherwise than with `components lock`: lock again",
                )

    def _document(self, source: Source, digest: str) -> Manifest | Index:
        path = self.store.get(digest)
        if path is not None:
            return parse_manifest(path.read_bytes())
        return parse_manifest(self.client.manifest(Reference.parse(source.location).pinned(digest), digest))

    def bundles(self, wanted: WantedComponent, source: Source) -> list[tuple[Pinned, bytes]]:
        """Return the Sigstore bundles that a component may have: the named one, else those beside its source.

        Raises:
            RemoteError, InputError: one cannot be had.
        """
        if wanted.bundle is not None:
            found = self._pin_file(wanted.bundle, MAX_BUNDLE)
            return [(found, self.content(found))]
        if source.kind in (SourceKind.ARTIFACT, SourceKind.IMAGE):
            return self._referring(source)
        if source.kind is SourceKind.URL:
            found = self._pin_file(f"{source.location}.sigstore.json", MAX_BUNDLE)
            return [(found, self.content(found))]
        beside = f"{source.location}.sigstore.json"
        if (self.base / beside).is_file():
            found = self._pin_file(beside, MAX_BUNDLE)
            return [(found, self.content(found))]
        return []

    def content(self, pinned: Pinned, *, source: Source | None = None) -> bytes:
        """Return pinned bytes, from the store or from where they were found.

        Args:
            pinned: which.
            source: what a referrer refers to.

        Raises:
            Finding: PVB742, what is there now has another digest.
            RemoteError, InputError: they cannot be had.
        """
        path = self.store.get(pinned.digest, pinned.size)
        if path is None and pinned.origin == "referrer" and source is not None:
            reference = Reference.parse(source.location).pinned(source.digest)
            blob = Descriptor(media_type=BUNDLE_TYPE, digest=pinned.digest, size=pinned.size)
            path = self.client.fetch(reference, blob)
        if path is None:
            again = self._pin_file(pinned.origin, MAX_BUNDLE)
            path = self._got(pinned.origin, again.digest, pinned.digest)
        return path.read_bytes()

    def pull(self, lock: ComponentLock, *, say: Say) -> None:
        """Have everything of a lock in the store.

        Raises:
            PodvmError: something cannot be had.
        """
        for component in lock.components:
            self.blobs(component.source)
            if component.source.kind in (SourceKind.ARTIFACT, SourceKind.IMAGE):
                self.check_manifest(component.source)
            if component.bundle is not None:
                self.content(component.bundle, source=component.source)
            say(f"{component.name}: {component.source.digest}")
        if lock.trusted_root is not None:
            load_root(lock.trusted_root, self)

    def pin_bytes(self, data: bytes, origin: str) -> Pinned:
        """Put bytes into the store."""
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.store.add(digest, len(data), [data])
        return Pinned(origin=origin, digest=digest, size=len(data))

    def pin_path(self, location: str) -> Pinned:
        """Put a file beside the set into the store."""
        return self._pin_file(location, MAX_BUNDLE)

    def close(self) -> None:
        """Close the registry client, if it was opened."""
        if self._client is not None:
            self._client.__exit__(None, None, None)

    def _pin_selftest(self, wanted: WantedComponent) -> Source:
        files = selftest()
        path = f"usr/local/bin/{wanted.name}"
        if path not in files:
            names = ", ".join(sorted(one.rpartition("/")[2] for one in files if "/bin/" in one))
            raise InputError(
                f"there is no stand-in for `{wanted.name}`",
                code="PVB733",
                place=wanted.place,
                hint=f"there are {names}",
            )
        data = files[path].data
        return Source(
            kind=wanted.kind, location="", digest=f"sha256:{hashlib.sha256(data).hexdigest()}", size=len(data)
        )

    def _pin_manifest(self, wanted: WantedComponent, arch: str) -> Source:
        reference = Reference.parse(wanted.location, place=wanted.place)
        descriptor = self.client.resolve(reference)
        document = parse_manifest(self.client.manifest(reference, descriptor.digest), descriptor.media_type)
        index = None
        if isinstance(document, Index):
            index = descriptor.digest
            descriptor = self.client.select_platform(document, arch)
            document = parse_manifest(self.client.manifest(reference, descriptor.digest), descriptor.media_type)
        if not isinstance(document, Manifest):
            raise InputError(
                f"`{wanted.location}` is an index of indexes", code="PVB741", place=wanted.place, hint="name a manifest"
            )
        layers = tuple(Layer(digest=one.digest, size=one.size, media_type=one.media_type) for one in document.layers)
        if wanted.kind is SourceKind.ARTIFACT and len(layers) != 1:
            raise InputError(
                f"`{wanted.location}` has {len(layers)} layers, and an artifact of one program has one",
                code="PVB741",
                place=wanted.place,
                hint="if it is a container image, say `image` and `file`",
            )
        self.client.fetch_all(reference, document.layers)
        return Source(
            kind=wanted.kind,
            location=wanted.location,
            digest=descriptor.digest,
            size=descriptor.size,
            layers=layers,
            index=index,
        )

    def _layers(self, source: Source) -> list[Path]:
        there = [self.store.get(layer.digest, layer.size) for layer in source.layers]
        at_hand = [path for path in there if path is not None]
        if len(at_hand) == len(there):
            return at_hand
        reference = Reference.parse(source.location).pinned(source.digest)
        wanted = [Descriptor(media_type=one.media_type, digest=one.digest, size=one.size) for one in source.layers]
        return self.client.fetch_all(reference, wanted)

    def _referring(self, source: Source) -> list[tuple[Pinned, bytes]]:
        reference = Reference.parse(source.location).pinned(source.digest)
        found: list[tuple[Pinned, bytes]] = []
        subjects = [source.digest, *([source.index] if source.index else [])]
        for entry in [one for subject in subjects for one in self.client.referrers(reference, subject)]:
            if len(found) == _MAX_BUNDLES:
                break
            document = parse_manifest(self.client.manifest(reference, entry.digest), entry.media_type)
            if not isinstance(document, Manifest):
                continue
            kind = document.artifact_type or document.config.media_type
            for layer in document.layers:
                if kind.startswith(BUNDLE_TYPE) and layer.size <= MAX_BUNDLE:
                    data = self.client.fetch(reference, layer).read_bytes()
                    found.append((Pinned(origin="referrer", digest=layer.digest, size=layer.size), data))
        return found

    def _pin_file(self, location: str, limit: int) -> Pinned:
        if "://" in location:
            digest, size = self.download(location, limit)
        else:
            digest, size = self._add(self.base / location, limit)
        return Pinned(origin=location, digest=digest, size=size)

    def _add(self, path: Path, limit: int) -> tuple[str, int]:
        if not path.resolve().is_relative_to(self.base.resolve()):
            raise InputError(
                f"`{path}` leads out of its folder, to `{path.resolve()}`",
                code="PVB735",
                hint="put the file itself beside the set",
            )
        with open_input(path, code="PVB743") as file:
            size = os.fstat(file.fileno()).st_size
        if not 0 < size <= limit:
            what = f"larger than {limit >> 20} MiB" if size else "empty"
            raise InputError(f"`{path}` is {what}", code="PVB743", hint="give the right file")
        return self.store.add_file(path)

    def _got(self, location: str, digest: str, wanted: str) -> Path:
        path = self.store.get(digest)
        if digest != wanted or path is None:
            raise Finding(
                f"`{location}` has the digest {digest}, and the lock wants {wanted}",
                code="PVB742",
                hint="find out why it changed; then lock again",
            )
        return path


def open_supplier(*, base: Path, store: BlobStore, open_client: Callable[[], RegistryClient]) -> Supplier:
    """Return a supplier that reaches registries by a client and servers by URL."""

    def fetch(url: str, limit: int) -> tuple[str, int]:
        check_url(url)
        return download(url, store=store, limit=limit)

    return Supplier(base=base, store=store, open_client=open_client, download=fetch)


def load_root(pinned: Pinned, supplier: Supplier) -> bytes:
    """Return a pinned trusted root.

    Raises:
        Lacking: PVB755, the library that brought it brings another now; PVB752, there is no library.
        Finding, InputError, RemoteError: see :meth:`Supplier.content`.
    """
    if pinned.origin != EMBEDDED or supplier.store.get(pinned.digest, pinned.size) is not None:
        return supplier.content(pinned)
    data = embedded_root()
    if supplier.pin_bytes(data, EMBEDDED) != pinned:
        raise Lacking(
            "the trusted root of the installed sigstore library is not the one that the lock was made with",
            code="PVB755",
            hint="give that one with --trusted-root, or lock again",
        )
    return data
