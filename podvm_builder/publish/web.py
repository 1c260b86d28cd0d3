"""A small HTTP client: TLS with a certificate authority of one's own, one deadline, no redirection, bounded answers."""

from __future__ import annotations

import http.client
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from podvm_builder.errors import InputError, RemoteError
from podvm_builder.publish.address import Address
from podvm_builder.publish.store import ATTEMPTS, PAUSE, UNREACHABLE

MAX_ANSWER = 8 << 20
"""Bytes."""
_CHUNK = 64 << 10
_PASSING = frozenset({429, 502, 503, 504})
"""Statuses of a server, or of a proxy in front of it, that may well answer the next time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An HTTP answer of any status."""

    status: int
    body: bytes


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    """A redirection would carry the administrator's token to where the user did not send it."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow none: the answer is the redirection itself."""


class Client:
    """Requests to one server.

    Args:
        address: of the server.
        headers: sent with every request.
        ca: PEM certificates that alone are trusted; the system's if None.
        timeout: seconds that one request may take from the first byte to the last.
    """

    def __init__(self, address: Address, *, headers: Mapping[str, str], ca: str | None, timeout: float) -> None:
        """Make the opener; nothing is sent.

        Raises:
            InputError: PVB656, the certificates are none.
        """
        self._base = str(address)
        self._headers = dict(headers)
        self._timeout = timeout
        handlers: list[urllib.request.BaseHandler] = [_NoRedirection()]
        if address.is_loopback:
            handlers.append(urllib.request.ProxyHandler({}))
        if address.is_encrypted:
            handlers.append(urllib.request.HTTPSHandler(context=_tls(ca)))
        self._opener = urllib.request.build_opener(*handlers)

    def get(self, path: str) -> Reply:
        """Ask, and ask again where that may help.

        Raises:
            RemoteError: PVB653, no answer.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                reply = self._send("GET", path, None)
            except RemoteError:
                if attempt == ATTEMPTS:
                    raise
            else:
                if reply.status not in _PASSING or attempt == ATTEMPTS:
                    return reply
            time.sleep(PAUSE * 2 ** (attempt - 1))
        raise AssertionError("the last attempt answers or raises")

    def post(self, path: str, body: bytes) -> Reply:
        """Send JSON, once: whether a request that was not answered was heeded is for the caller to find out.

        Raises:
            RemoteError: PVB653, no answer.
        """
        return self._send("POST", path, body)

    def _send(self, method: str, path: str, body: bytes | None) -> Reply:
        headers = {**self._headers, "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked with the address
            self._base + path, data=body, headers=headers, method=method
        )
        end = time.monotonic() + self._timeout
        try:
            with self._open(request) as answer:
                return Reply(status=answer.status or 0, body=_body(answer, end))
        except (OSError, http.client.HTTPException) as error:
            raise self._unanswered(error) from error

    def _open(self, request: urllib.request.Request) -> Any:
        try:
            return self._opener.open(request, timeout=self._timeout)
        except urllib.error.HTTPError as error:
            return error  # a refusal is an answer as any other

    def _unanswered(self, error: Exception) -> RemoteError:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, TimeoutError):
            said = f"no complete answer within {self._timeout:g} s"
        elif isinstance(reason, ssl.SSLCertVerificationError):
            said = f"its certificate is not trusted: {reason.verify_message}"
        else:
            said = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        return RemoteError(
            f"{self._base}: {said}",
            code=UNREACHABLE,
            hint="see that the address is right and the server runs; `--ca-file` names its certificate authority",
        )


def _tls(ca: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cadata=ca)
    except (ssl.SSLError, ValueError):
        raise InputError(
            "the file of certificate authorities holds no certificates", code="PVB656", hint="give them in PEM"
        ) from None


def _body(answer: Any, end: float) -> bytes:
    """Read an answer to its end, or to the deadline: a server that sends a byte now and then must not hold us."""
    parts, size = [], 0
    while part := answer.read1(_CHUNK):
        parts.append(part)
        size += len(part)
        if size > MAX_ANSWER:
            raise OSError(f"the answer is larger than {MAX_ANSWER} bytes")
        if time.monotonic() > end:
            raise TimeoutError
    return b"".join(parts)
