"""One HTTP request after the other, with the rules that credentials need.

Driven through ``requests``. Redirects are followed here instead of there: what authorises goes to the origin that it
was meant for and to no other, an address with TLS never leads to one without, and ``~/.netrc`` is not looked into. A
body is never decoded (a layer that was sent as ``Content-Encoding: gzip`` would have another digest), and never read
without a bound. Messages hold addresses without their query, which signs the request at many stores.
"""

from __future__ import annotations

import email.utils
import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from podvm_builder.errors import RemoteError
from podvm_builder.tools.oci.hosts import Hosts, is_loopback
from podvm_builder.tools.oci.policy import Failure, Timeouts

UNREACHABLE = "PVB704"
PROTOCOL = "PVB706"
_REDIRECTS = {301, 302, 303, 307, 308}
_MAX_HOPS = 5
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
_CHUNK = 1 << 20
_POOL = 16
_MAX_ERROR = 64 << 10
_NO_PROXIES: Any = {"http": None, "https": None, "all": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked."""

    method: str
    url: str
    headers: Mapping[str, str]
    data: bytes | None = None
    authorization: str | None = None
    """For the address's own origin; never sent elsewhere."""


class Http:
    """Connections that are kept open, shared by the threads of one client."""

    def __init__(self, *, hosts: Hosts, timeouts: Timeouts) -> None:
        """Open nothing yet."""
        self._hosts = hosts
        self.timeouts = timeouts
        self._session = requests.Session()
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        # a callable stands where the session would look for credentials in ~/.netrc
        self._session.auth = _as_it_is
        adapter = HTTPAdapter(pool_maxsize=_POOL, max_retries=0)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def send(self, request: Request) -> requests.Response:
        """Return the answer, its body unread, whatever its status.

        Raises:
            Failure: nothing came back, or a redirect leads where it must not.
        """
        url, authorization = request.url, request.authorization
        for _ in range(_MAX_HOPS + 1):
            self._check(url, request.url)
            headers = {"Accept-Encoding": "identity", "User-Agent": "podvm-build", **request.headers}
            if authorization is not None:
                headers["Authorization"] = authorization
            try:
                response = self._session.request(
                    request.method,
                    url,
                    headers=headers,
                    data=request.data,
                    stream=True,
                    allow_redirects=False,
                    timeout=(self.timeouts.connect, self.timeouts.read),
                    # a proxy of the environment does not reach this machine
                    proxies=_NO_PROXIES if is_loopback(origin(url)[1]) else None,
                )
            except (requests.RequestException, HTTPError, OSError) as error:
                raise self._unreachable(url, error) from None
            # a PATCH or POST that was accepted says by Location where the upload goes on
            if response.status_code not in _REDIRECTS or "location" not in response.headers:
                return response
            target = urljoin(url, response.headers["location"])
            response.close()
            if origin(target) != origin(url):
                authorization = None
            url = target
        raise Failure(RemoteError(f"`{shown(request.url)}` is redirected again and again", code=PROTOCOL))

    def _check(self, url: str, first: str) -> None:
        """See that an address is one that may be asked."""
        scheme, host, _ = origin(url)
        if scheme == "https" or (scheme == "http" and self._hosts.plain(host)):
            return
        why = "asked by plain http" if url == first else f"led by plain http to `{shown(url)}`"
        raise Failure(
            RemoteError(
                f"`{shown(first)}` is {why}",
                code=PROTOCOL,
                hint="name its host as insecure if that is what is wanted: anybody on the way can read and change it",
            )
        )

    def _unreachable(self, url: str, error: Exception) -> Failure:
        if isinstance(error, requests.ReadTimeout | urllib3.exceptions.ReadTimeoutError):
            why = f"it sent nothing for {self.timeouts.read:g} s"
        elif isinstance(error, requests.ConnectTimeout):
            why = f"no connection within {self.timeouts.connect:g} s"
        else:
            why = _reason(error)
        certificate = "certificate" in why.lower()
        return Failure(
            RemoteError(
                f"`{shown(url)}` cannot be read: {why}",
                code=UNREACHABLE,
                hint="let REQUESTS_CA_BUNDLE name the authority's certificate, if it is one of yours"
                if certificate
                else None,
            ),
            retry=not certificate and not isinstance(error, requests.exceptions.InvalidURL),
        )

    def pieces(self, response: requests.Response) -> Iterator[bytes]:
        """Yield a body as it comes over the wire, in pieces of at most 1 MiB.

        Raises:
            Failure: it broke off; what was yielded before is whole.
        """
        try:
            # read1 gives what is there: of a body that breaks off, nothing is lost that came
            while piece := response.raw.read1(_CHUNK):
                yield piece
        except (HTTPError, OSError, ValueError) as error:
            raise self._unreachable(response.url, error) from None

    def body(self, response: requests.Response, limit: int) -> bytes:
        """Return a body of at most ``limit`` bytes.

        Raises:
            Failure: it broke off or is longer.
        """
        parts, total = [], 0
        with response:
            for piece in self.pieces(response):
                total += len(piece)
                if total > limit:
                    raise Failure(
                        RemoteError(f"`{shown(response.url)}` answered with more than {limit} bytes", code=PROTOCOL)
                    )
                parts.append(piece)
        told = announced(response)
        if told is not None and told != total:
            raise Failure(
                RemoteError(f"`{shown(response.url)}` ended after {total} of {told} bytes", code=UNREACHABLE),
                retry=True,
            )
        return b"".join(parts)

    def said(self, response: requests.Response) -> str:
        """Return the words of an error answer, in short; they are a stranger's, and nothing but printed."""
        try:
            data = self.body(response, _MAX_ERROR)
            errors = json.loads(data)["errors"]
            words = "; ".join(" ".join(str(one[key]) for key in ("code", "message") if one.get(key)) for one in errors)
        except (Failure, ValueError, RecursionError, KeyError, TypeError, AttributeError):
            words = ""
        words = "".join(one if one.isprintable() else " " for one in words)[:300].strip()
        return f"{response.status_code}" + (f" {words}" if words else f" {response.reason or ''}".rstrip())

    def refused(self, response: requests.Response, code: str, hint: str | None = None) -> Failure:
        """Return the failure that an answer stands for."""
        after = retry_after(response.headers.get("retry-after"))
        status = response.status_code
        code = UNREACHABLE if status in _TRANSIENT else code
        if status in _TRANSIENT and after is not None:
            hint = f"it asks to come back in {after:.0f} s"
        message = f"`{shown(response.url)}` answered {self.said(response)}"
        return Failure(RemoteError(message, code=code, hint=hint), retry=status in _TRANSIENT, after=after)


def origin(url: str) -> tuple[str, str, int | None]:
    """Return scheme, host with its port where it was written, and port of an address."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return "", "", None
    return parts.scheme.lower(), parts.netloc.rpartition("@")[2].lower(), port


def shown(url: str) -> str:
    """Return an address without query, fragment and user, each of which may be secret."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that is none"
    text = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return "".join(one if one.isprintable() else "?" for one in text)


def retry_after(text: str | None, *, now: float | None = None) -> float | None:
    """Return the seconds of a ``Retry-After``, which has them or a date (RFC 9110, section 10.2.3); None of another."""
    if text is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}", text.strip()):
        return float(text)
    try:
        moment = email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(0.0, moment - (time.time() if now is None else now))


def announced(response: requests.Response) -> int | None:
    """Return the length in bytes that an answer says its body has; None if it says none that can be."""
    text = response.headers.get("content-length", "")
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _reason(error: BaseException) -> str:
    """Return the innermost cause in words; those of the libraries around it hold the whole address."""
    seen = 0
    while seen < 8:
        seen += 1
        inner = getattr(error, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((one for one in reversed(error.args) if isinstance(one, BaseException)), None)
        inner = inner or error.__cause__
        if inner is None:
            break
        error = inner
    if isinstance(error, OSError):
        words = getattr(error, "verify_message", None) or error.strerror or type(error).__name__
        return f"certificate: {words}" if hasattr(error, "verify_message") else str(words)
    if isinstance(error, urllib3.exceptions.IncompleteRead):
        return "the connection was closed in the middle"
    if isinstance(error, HTTPError) and type(error).__name__ == "ProtocolError":
        return "the connection broke off"
    return type(error).__name__
