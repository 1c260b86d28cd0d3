"""Fetching one blob: resumed where it broke off, bounded by its size, and nothing but what its digest says.

A registry that sends other bytes than those asked for is believed in nothing: what it sent is thrown away. Only where
a part of them came from an earlier attempt, which may have been damaged since, is the whole asked for once more.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from typing import BinaryIO

import requests

from podvm_builder.errors import RemoteError
from podvm_builder.model.oci import Descriptor
from podvm_builder.tools.files import writing
from podvm_builder.tools.oci.connection import Connection
from podvm_builder.tools.oci.http import UNREACHABLE, Http, announced
from podvm_builder.tools.oci.policy import Failure, Retries, check_stop, given_up
from podvm_builder.tools.oci.store import MISMATCH, BlobStore

Progress = Callable[[Descriptor, int], None]
"""Takes how many bytes of a blob are there by now; called from several threads."""

_ENOUGH = 1 << 20
"""Bytes of progress after which failures are counted anew; since sizes are bounded, so is the number of attempts."""
_CHUNK = 1 << 20


class Download:
    """Fetches blobs into a store."""

    def __init__(self, store: BlobStore, *, http: Http, retries: Retries, progress: Progress) -> None:
        """Keep what is needed for every blob."""
        self._store = store
        self._http = http
        self._retries = retries
        self._progress = progress

    def wait_turn(self, stop: Event) -> Callable[[float], None]:
        """Return what :meth:`BlobStore.claim` waits with while another process downloads the same blob."""

        def waiting(seconds: float) -> None:
            stop.wait(seconds)
            check_stop(stop)

        return waiting

    def run(self, source: Connection, partial: Path, descriptor: Descriptor, stop: Event) -> None:
        """Make ``partial`` the whole blob. What came stays there if the source fails, for the next one or a later run.

        Raises:
            RemoteError: PVB702 to PVB706.
            Lacking: PVB321 or PVB322.
            Stopped: the event was set.
        """
        failed = 0
        while True:
            check_stop(stop)
            before = _size(partial)
            try:
                with writing(partial), partial.open("a+b") as file:
                    self._attempt(source, file, descriptor, stop)
                return
            except Failure as failure:
                failed = 1 if _size(partial) - before >= _ENOUGH else failed + 1
                pause = self._retries.pause(failed, failure.after) if failure.retry else None
                if pause is None:
                    raise given_up(failure, failed) from None
                self._retries.wait(pause, stop)

    def _attempt(self, source: Connection, file: BinaryIO, descriptor: Descriptor, stop: Event) -> None:
        have, state = _hash_so_far(file, descriptor)
        if have == descriptor.size and f"sha256:{state.hexdigest()}" == descriptor.digest:
            return
        if have == descriptor.size:
            have, state = _empty(file)
        headers = {"Range": f"bytes={have}-{descriptor.size - 1}"} if have else {}
        response = source.ask("GET", source.blob_url(descriptor.digest), headers=headers)
        with response:
            if response.status_code == 200 and have:
                have, state = _empty(file)  # it does not know ranges
            elif response.status_code == 416 or (response.status_code == 206 and not _continues(response, have)):
                _empty(file)
                raise Failure(
                    RemoteError(f"`{source.host}` sent another range than the one asked for", code="PVB706"), retry=True
                )
            elif response.status_code not in (200, 206):
                raise source.failed(response, f"blob `{descriptor.digest}`")
            told = announced(response)
            if told is not None and told != descriptor.size - have:
                raise self._wrong(source, descriptor, f"it has {have + told} bytes, not {descriptor.size}")
            total = self._take(response, file, state, have=have, descriptor=descriptor, source=source, stop=stop)
        if total < descriptor.size:
            raise Failure(
                RemoteError(
                    f"`{source.host}` ended blob `{descriptor.digest}` after {total} of {descriptor.size} bytes",
                    code=UNREACHABLE,
                ),
                retry=True,
            )
        if f"sha256:{state.hexdigest()}" != descriptor.digest:
            _empty(file)
            raise self._wrong(source, descriptor, f"it has the digest `sha256:{state.hexdigest()}`", retry=have > 0)

    def _take(
        self,
        response: requests.Response,
        file: BinaryIO,
        state: hashlib._Hash,
        *,
        have: int,
        descriptor: Descriptor,
        source: Connection,
        stop: Event,
    ) -> int:
        """Write and hash a body; return how many bytes of the blob are there."""
        clock, timeouts = self._retries.clock, self._http.timeouts
        total = have
        since, base = clock(), total
        for piece in self._http.pieces(response):
            check_stop(stop)
            total += len(piece)
            if total > descriptor.size:
                _empty(file)
                raise self._wrong(source, descriptor, f"it has more than {descriptor.size} bytes")
            file.write(piece)
            state.update(piece)
            self._progress(descriptor, total)
            now = clock()
            if now - since >= timeouts.window:
                if total - base < timeouts.slowest * (now - since) and total < descriptor.size:
                    raise Failure(
                        RemoteError(
                            f"`{source.host}` sends fewer than {timeouts.slowest} bytes a second", code=UNREACHABLE
                        ),
                        retry=True,
                    )
                since, base = now, total
        return total

    def _wrong(self, source: Connection, descriptor: Descriptor, why: str, *, retry: bool = False) -> Failure:
        return Failure(
            RemoteError(
                f"what `{source.host}` sent as blob `{descriptor.digest}` is not that: {why}",
                code=MISMATCH,
                hint="it was thrown away; do not use this registry until its owner knows why",
            ),
            retry=retry,
        )


def newest_error(errors: Sequence[RemoteError]) -> RemoteError:
    """Return one error for all the places that were asked; the last one is the registry itself."""
    *others, last = errors
    if not others:
        return last
    message = "; ".join([last.message, *(f"before it, {error.message}" for error in others)])
    return RemoteError(message, code=last.code, hint=last.hint)


def _hash_so_far(file: BinaryIO, descriptor: Descriptor) -> tuple[int, hashlib._Hash]:
    """Return how much is there from earlier, and its hash."""
    state = hashlib.sha256()
    if os.fstat(file.fileno()).st_size > descriptor.size:
        return _empty(file)
    file.seek(0)
    while piece := file.read(_CHUNK):
        state.update(piece)
    return file.tell(), state


def _empty(file: BinaryIO) -> tuple[int, hashlib._Hash]:
    file.truncate(0)
    return 0, hashlib.sha256()


def _continues(response: requests.Response, have: int) -> bool:
    """Say whether a 206 begins where it was asked to (RFC 9110, section 14.4)."""
    return re.match(rf"bytes\s+{have}-", response.headers.get("content-range", "")) is not None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
