"""The registry client: names to digests, digests to files.

A tag is asked of the registry itself, and of its mirrors only where that does not answer: a mirror may be behind. A
digest is asked of the mirrors first, since whatever comes is checked against it. Manifests are blobs of the store too,
so that what was pulled once needs no network again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from threading import Event, Lock
from types import TracebackType
from typing import TypeVar

from podvm_builder.errors import RemoteError
from podvm_builder.formats.oci import Index, parse_manifest, select_platform
from podvm_builder.model.oci import Descriptor, Reference
from podvm_builder.tools.oci.auth import Authority
from podvm_builder.tools.oci.config import DockerConfig
from podvm_builder.tools.oci.connection import Connection
from podvm_builder.tools.oci.download import Download, Progress, newest_error
from podvm_builder.tools.oci.hosts import Hosts
from podvm_builder.tools.oci.http import Http
from podvm_builder.tools.oci.manifests import describe, get_manifest, type_of
from podvm_builder.tools.oci.policy import Retries, Stopped, Timeouts, insist
from podvm_builder.tools.oci.referrers import list_referrers
from podvm_builder.tools.oci.store import BlobStore

WORKERS = 4
"""Blobs that are downloaded at a time."""
_T = TypeVar("_T")


class RegistryClient:
    """Pulls from registries into a store; a context manager that closes its connections."""

    def __init__(
        self,
        *,
        store: BlobStore,
        config: DockerConfig,
        mirrors: Mapping[str, Sequence[str]] | None = None,
        insecure_hosts: Collection[str] = (),
        hosts: Hosts | None = None,
        retries: Retries | None = None,
        timeouts: Timeouts | None = None,
        progress: Progress | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        """Open nothing yet.

        Args:
            store: where blobs and manifests are kept.
            config: whose credentials are used.
            mirrors: by registry, places ``host[:port][/prefix]`` that serve the same.
            insecure_hosts: hosts to be asked by plain http; those of this machine always are.
            hosts: the same and more, such as from the configuration of this machine; instead of the two before.
            retries: how often and when a registry is asked again.
            timeouts: patience with one connection.
            progress: takes how much of a blob is there; called from several threads.
            warn: takes a line where a mirror did not serve what it should.

        Raises:
            InputError: PVB707, a mirror that is none.
        """
        self._store = store
        self._config = config
        self._hosts = hosts or Hosts.parse(mirrors or {}, insecure_hosts)
        self._retries = retries or Retries()
        self._http = Http(hosts=self._hosts, timeouts=timeouts or Timeouts())
        self._download = Download(
            store, http=self._http, retries=self._retries, progress=progress or (lambda _blob, _bytes: None)
        )
        self._warn = warn or (lambda _line: None)
        self._authorities: dict[str, Authority] = {}
        self._connections: dict[tuple[str, str], Connection] = {}
        self._lock = Lock()

    def __enter__(self) -> RegistryClient:
        """Return the client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self._http.close()

    def resolve(self, reference: Reference) -> Descriptor:
        """Return what a reference names: by its digest if it has one, else by its tag as it stands now.

        Raises:
            RemoteError: PVB702 to PVB706.
        """
        if reference.digest is not None:
            data = self.manifest(reference, reference.digest)
            return describe(data, type_of(data, None))
        tag = reference.tag or ""  # a reference has one or the other

        def read(source: Connection) -> tuple[bytes, Descriptor]:
            data, sent = get_manifest(source, tag)
            return data, describe(data, type_of(data, sent))

        data, descriptor = self._any(self._sources(reference, tag=True), read)
        if self._store.get(descriptor.digest, descriptor.size) is None:
            self._store.add(descriptor.digest, descriptor.size, [data])
        return descriptor

    def manifest(self, reference: Reference, digest: str) -> bytes:
        """Return the manifest of a digest, from the store if it is there.

        Raises:
            RemoteError: PVB702 to PVB706.
        """
        path = self._store.get(digest)
        if path is not None:
            return path.read_bytes()

        def read(source: Connection) -> bytes:
            return get_manifest(source, digest)[0]

        data = self._any(self._sources(reference, tag=False), read)
        self._store.add(digest, len(data), [data])
        return data

    def moved(self, reference: Reference) -> Descriptor | None:
        """Return what the tag of a reference names now if that is not the reference's digest; None if it is.

        Raises:
            RemoteError: PVB702 to PVB706.
        """
        now = self.resolve(Reference(registry=reference.registry, repository=reference.repository, tag=reference.tag))
        return None if now.digest == reference.digest else now

    @staticmethod
    def select_platform(index: Index, arch: str) -> Descriptor:
        """Return the first manifest of an index that is for Linux on an architecture.

        Args:
            index: a parsed index.
            arch: ``x86_64`` or ``amd64``, ``aarch64`` or ``arm64``, ``s390x`` ….

        Raises:
            InputError: PVB708, there is none.
        """
        return select_platform(index, arch)

    def fetch(self, reference: Reference, descriptor: Descriptor) -> Path:
        """Return the file of a blob, downloaded if it is not in the store.

        Raises:
            RemoteError: PVB702 to PVB706.
            Lacking: PVB321 or PVB322.
        """
        return self._fetch(reference, descriptor, Event())

    def fetch_all(self, reference: Reference, descriptors: Sequence[Descriptor]) -> list[Path]:
        """Return the files of several blobs, :data:`WORKERS` of them downloaded at a time.

        Raises:
            RemoteError: PVB702 to PVB706, the first that occurred; the other downloads are given up, to be resumed.
            Lacking: PVB321 or PVB322.
        """
        stop = Event()
        unique = {descriptor.digest: descriptor for descriptor in descriptors}
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="pull") as pool:
            tasks = {digest: pool.submit(self._fetch, reference, one, stop) for digest, one in unique.items()}
            try:
                wait(tasks.values(), return_when=FIRST_EXCEPTION)
            finally:
                if any(not task.done() or task.exception() is not None for task in tasks.values()):
                    stop.set()
                    pool.shutdown(wait=True, cancel_futures=True)
        failed = [task.exception() for task in tasks.values() if not task.cancelled()]
        for error in failed:
            if error is not None and not isinstance(error, Stopped):
                raise error
        paths = {digest: task.result() for digest, task in tasks.items()}
        return [paths[descriptor.digest] for descriptor in descriptors]

    def referrers(self, reference: Reference, digest: str, artifact_type: str | None = None) -> list[Descriptor]:
        """Return what refers to a manifest: its signatures, attestations, measurements.

        Args:
            reference: the repository.
            digest: the manifest's.
            artifact_type: those of this type alone.

        Raises:
            RemoteError: PVB702 to PVB706.
        """

        def read(source: Connection) -> list[Descriptor]:
            return list_referrers(
                source, digest, artifact_type, read=lambda name: get_manifest(source, name), http=self._http
            )

        return self._any(self._sources(reference, tag=True), read)

    def push_blob(self, reference: Reference, path: Path, media_type: str = "application/octet-stream") -> Descriptor:
        """Upload a file to the registry itself if it is not there.

        Raises:
            RemoteError: PVB709, it was not taken; PVB702 or PVB704.
        """
        from podvm_builder.tools.oci.upload import put_blob  # it loads far more than a pull needs

        with path.open("rb") as file:
            digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
            descriptor = Descriptor(media_type=media_type, digest=digest, size=file.tell())
        source = self._sources(reference, tag=True)[0]
        # once: an upload whose answer was lost may have been taken in part
        insist(lambda: put_blob(source, path, descriptor), Retries(attempts=1), Event())
        return descriptor

    def push_manifest(self, reference: Reference, data: bytes) -> Descriptor:
        """Upload a manifest under the reference's tag, or its digest where it has no tag.

        Raises:
            FormatError: PVB706, it is none.
            RemoteError: PVB709, it was not taken; PVB702 or PVB704.
        """
        from podvm_builder.tools.oci.upload import put_manifest

        descriptor = describe(data, parse_manifest(data).media_type)
        source = self._sources(reference, tag=True)[0]
        name = reference.tag or descriptor.digest
        insist(lambda: put_manifest(source, name, data, descriptor.media_type), self._retries, Event())
        return descriptor

    def _fetch(self, reference: Reference, descriptor: Descriptor, stop: Event) -> Path:
        found = self._store.get(descriptor.digest, descriptor.size)
        if found is not None:
            return found
        with self._store.claim(descriptor.digest, self._download.wait_turn(stop)) as partial:
            # whoever held it before us may have got it
            found = self._store.get(descriptor.digest, descriptor.size)
            if found is not None:
                return found

            def run(source: Connection) -> None:
                self._download.run(source, partial, descriptor, stop)

            self._any(self._sources(reference, tag=False), run, retried=True)
            return self._store.finish(descriptor.digest)

    def _any(
        self,
        sources: Sequence[Connection],
        work: Callable[[Connection], _T],
        *,
        retried: bool = False,
    ) -> _T:
        """Return what the first of several places answers that answers well.

        Args:
            sources: the places, in their order.
            work: asks one.
            retried: it asks again by itself.
        """
        errors: list[RemoteError] = []
        for source in sources:
            try:
                if retried:
                    return work(source)
                return insist(lambda one=source: work(one), self._retries, Event())  # type: ignore[misc]  # a bound default
            except RemoteError as error:
                errors.append(error)
                if len(sources) > 1:
                    self._warn(error.message)
        raise newest_error(errors)

    def _sources(self, reference: Reference, *, tag: bool) -> list[Connection]:
        places = self._hosts.places(reference.registry, reference.repository, tag=tag)
        return [self._connection(place.host, place.repository) for place in places]

    def _connection(self, host: str, repository: str) -> Connection:
        with self._lock:
            if host not in self._authorities:
                self._authorities[host] = Authority(host, http=self._http, config=self._config)
            key = (host, repository)
            if key not in self._connections:
                self._connections[key] = Connection(
                    host, repository, http=self._http, hosts=self._hosts, authority=self._authorities[host]
                )
            return self._connections[key]
