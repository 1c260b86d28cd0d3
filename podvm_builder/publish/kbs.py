"""Reference values behind a KBS: ``/kbs/v0/reference-value`` (Trustee 0.14 and newer).

A value is read by its name (0.16 and newer) or with all others (0.14 and 0.15), and written as a registration message
of type ``sample``. The administrator's token goes with every request. A KBS answers 401 to nearly every failure and
says in a JSON object, ``type`` and ``detail``, what is the matter; that is how a name that is not registered, and an
RVPS that stumbled, are told from a request that is not allowed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from podvm_builder.errors import RemoteError
from podvm_builder.publish.store import REFUSED, UNREACHABLE
from podvm_builder.publish.web import Client, Reply
from podvm_builder.refvalues.trustee import registration_message

_PATH = "/kbs/v0/reference-value"
_OK = 200
_NO_VALUE = "No reference value found for the given id"
"""What the ``detail`` of a KBS says of a name that is not registered, behind the ``type`` that ends so:"""
_RVPS = "/RvpsError"
_MAX_SAID = 300


class KbsStore:
    """The values behind one KBS.

    Args:
        client: with the administrator's token in its headers.
        where: what messages call the KBS.
        by_name: whether values are asked for one by one (Trustee 0.16 and newer).
    """

    def __init__(self, client: Client, *, where: str, by_name: bool = True) -> None:
        """Keep the parts; nothing is sent."""
        self._client = client
        self._where = where
        self._by_name = by_name

    @property
    def where(self) -> str:
        """The address of the KBS."""
        return self._where

    def read(self, names: Iterable[str]) -> dict[str, Any]:
        """Return the values of those names that are registered.

        Raises:
            RemoteError: PVB652 or PVB653.
        """
        if not self._by_name:
            everything = self._json(self._checked(self._client.get(_PATH)))
            if not isinstance(everything, dict):
                raise self._unreadable("not an object")
            return {name: everything[name] for name in names if name in everything}
        found = {}
        for name in names:
            reply = self._client.get(f"{_PATH}/{quote(name, safe='/')}")
            if not _says_absent(reply):
                found[name] = self._json(self._checked(reply))
        return found

    def write(self, values: Mapping[str, Any]) -> None:
        """Register values with one message.

        Raises:
            RemoteError: PVB652 or PVB653.
        """
        self._checked(self._client.post(_PATH, registration_message(dict(values))))

    def _checked(self, reply: Reply) -> Reply:
        if reply.status == _OK:
            return reply
        said = _said(reply)
        # what a server, a proxy, or the RVPS behind it says of itself: the request may have been heeded in part
        unknown = reply.status >= 500 or reply.status == 408 or _is_of_rvps(reply)
        raise RemoteError(
            f"{self._where} answered {reply.status}{f': {said}' if said else ''}",
            code=UNREACHABLE if unknown else REFUSED,
            hint="look into its log"
            if unknown
            else "give the administrator's credentials (`--admin-token`), and see that this is the KBS's address",
        )

    def _json(self, reply: Reply) -> Any:
        try:
            return json.loads(reply.body)
        except (ValueError, RecursionError):
            raise self._unreadable("not JSON") from None

    def _unreadable(self, why: str) -> RemoteError:
        return RemoteError(
            f"{self._where}: the answer is {why}",
            code=UNREACHABLE,
            hint="is this a KBS, and `--trustee` its version? How values are read changed with 0.16",
        )


def _says_absent(reply: Reply) -> bool:
    if reply.status == _OK:
        return False
    return _is_of_rvps(reply) and _NO_VALUE in _information(reply).get("detail", "")


def _is_of_rvps(reply: Reply) -> bool:
    return _information(reply).get("type", "").endswith(_RVPS)


def _said(reply: Reply) -> str:
    information = _information(reply)
    return (information.get("detail") or information.get("type") or "")[:_MAX_SAID]


def _information(reply: Reply) -> dict[str, str]:
    """Return the texts of a KBS's ErrorInformation; none of what is not one."""
    try:
        value = json.loads(reply.body)
    except (ValueError, RecursionError):
        return {}
    return {key: text for key, text in value.items() if isinstance(text, str)} if isinstance(value, dict) else {}
