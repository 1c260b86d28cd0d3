"""What to send where a registry asks who is there: RFC 7617 names and passwords, and bearer tokens.

Tokens by the Distribution project's "Token Authentication Specification" and its OAuth 2 form. A token server gets the
registry's credentials only by TLS, or by plain http where the user named its host. Tokens are kept per repository and
right, in memory, and got anew when a registry does not take one any more: no clock decides that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from urllib.parse import urlencode, urlsplit

from podvm_builder.errors import RemoteError
from podvm_builder.tools.oci.config import Credentials, DockerConfig
from podvm_builder.tools.oci.http import PROTOCOL, Http, Request, shown
from podvm_builder.tools.oci.policy import Failure

DENIED = "PVB702"
_MAX_ANSWER = 1 << 20
_CLIENT = "podvm-build"
_PARAMETER = re.compile(
    r'\s*,?\s*(?:(?P<scheme>[A-Za-z][A-Za-z0-9-]*)\s+)?(?P<key>[A-Za-z_]+)\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^\s,"]+))'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """What a ``WWW-Authenticate`` header asks for."""

    scheme: str
    """In lower case."""
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse_challenges(header: str) -> list[Challenge]:
    """Read the challenges of one or of several such headers (RFC 9110, section 11.6.1); what is malformed ends them."""
    found: list[tuple[str, dict[str, str]]] = []
    at = 0
    while match := _PARAMETER.match(header, at):
        if match["scheme"]:
            found.append((match["scheme"].lower(), {}))
        if not found:
            break
        value = match["bare"] if match["quoted"] is None else re.sub(r"\\(.)", r"\1", match["quoted"])
        found[-1][1][match["key"].lower()] = value
        at = match.end()
    if not found and (word := re.match(r"\s*([A-Za-z]+)\s*$", header)):
        found.append((word[1].lower(), {}))
    return [Challenge(scheme=scheme, parameters=parameters) for scheme, parameters in found]


class Authority:
    """Answers the challenges of one host, for all its repositories."""

    def __init__(self, host: str, *, http: Http, config: DockerConfig) -> None:
        """Ask nobody yet.

        Args:
            host: the registry's name in the configuration.
            http: for the token server.
            config: whose credentials.
        """
        self._host = host
        self._http = http
        self._config = config
        self._answers: dict[tuple[str, str], str] = {}
        self._lock = Lock()

    def known(self, repository: str, actions: str) -> str | None:
        """Return the header that worked before, or None."""
        return self._answers.get((repository, actions))

    def answer(self, header: str, *, repository: str, actions: str, refused: str | None) -> str:
        """Return the ``Authorization`` header that answers a challenge.

        Args:
            header: ``WWW-Authenticate``.
            repository: what is asked for.
            actions: ``pull``, or ``pull,push``.
            refused: the header that was sent with what was answered so.

        Raises:
            Failure: PVB702 there is nothing to answer with, or it has been refused already.
        """
        key = (repository, actions)
        # one thread gets a token, the others that were refused meanwhile take it
        with self._lock:
            known = self._answers.get(key)
            if known is not None and known != refused:
                return known
            found = self._config.find(self._host, repository)
            made = self._make(parse_challenges(header), found.credentials, repository, actions, found.note)
            if made == refused:
                raise self.denied("it does not take the name and password of the configuration", note=found.note)
            self._answers[key] = made
            return made

    def denied(self, why: str, *, note: str | None = None) -> Failure:
        """Return the failure of a registry that did not let us in."""
        return Failure(
            RemoteError(
                f"`{self._host}` refused: {why}" + (f"; {note}" if note else ""),
                code=DENIED,
                hint=f"log in, such as by `docker login {self._host}`, or see whether the name is right",
            )
        )

    def note(self, repository: str) -> str | None:
        """Return why the configuration has no credentials although it should."""
        return self._config.find(self._host, repository).note

    def _make(
        self,
        challenges: list[Challenge],
        credentials: Credentials | None,
        repository: str,
        actions: str,
        note: str | None,
    ) -> str:
        by_scheme = {one.scheme: one.parameters for one in reversed(challenges)}
        if credentials is not None and credentials.registry_token:
            return f"Bearer {credentials.registry_token}"
        if "bearer" in by_scheme:
            return self._token(by_scheme["bearer"], credentials, repository, actions)
        if "basic" in by_scheme:
            basic = credentials.basic if credentials is not None else None
            if basic is None:
                raise self.denied("it asks for a name and a password, and the configuration has none", note=note)
            return basic
        raise self.denied("it asks for a way to log in that is not known here", note=note)

    def _token(
        self, parameters: Mapping[str, str], credentials: Credentials | None, repository: str, actions: str
    ) -> str:
        realm = parameters.get("realm", "")
        if urlsplit(realm).scheme not in ("http", "https"):
            raise Failure(RemoteError(f"`{self._host}` names no address for tokens", code=PROTOCOL))
        query = {"service": parameters["service"]} if parameters.get("service") else {}
        query["scope"] = _scope(parameters.get("scope"), repository, actions)
        if credentials is not None and credentials.identity_token:
            form = {"grant_type": "refresh_token", "client_id": _CLIENT, "refresh_token": credentials.identity_token}
            request = Request(
                method="POST",
                url=realm,
                headers={"Content-Type": "application/x-www-form-urlencoded"},
                data=urlencode(form | query).encode(),
            )
        else:
            url = f"{realm}{'&' if urlsplit(realm).query else '?'}{urlencode(query)}"
            basic = credentials.basic if credentials is not None else None
            request = Request(method="GET", url=url, headers={}, authorization=basic)
        response = self._http.send(request)
        if response.status_code in (400, 401, 403):
            raise self.denied(
                f"no token from `{shown(realm)}`: {self._http.said(response)}", note=self.note(repository)
            )
        if response.status_code != 200:
            raise self._http.refused(response, PROTOCOL)
        return f"Bearer {_read_token(self._http.body(response, _MAX_ANSWER), realm)}"


def _scope(asked: str | None, repository: str, actions: str) -> str:
    """Return what the token is to be for: what the registry names, or more where more will be done."""
    own = f"repository:{repository}:{actions}"
    if asked is None or not asked.startswith(f"repository:{repository}:"):
        return asked or own
    return own if set(asked.rpartition(":")[2].split(",")) <= set(actions.split(",")) else asked


def _read_token(data: bytes, realm: str) -> str:
    try:
        answer = json.loads(data)
        token = answer.get("token") or answer.get("access_token")
    except (ValueError, RecursionError, AttributeError):
        token = None
    # what becomes a header must not hold the end of one
    if not isinstance(token, str) or re.fullmatch(r"[\x21-\x7e]+", token) is None:
        raise Failure(RemoteError(f"`{shown(realm)}` gave no token", code=PROTOCOL))
    return token
