"""A place that holds reference values by name, whatever the protocol in front of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

REFUSED = "PVB652"
"""Code of a refusal: of the credentials, of the request, of its content."""
UNREACHABLE = "PVB653"
"""Code of silence: no connection, no answer in time, an answer that cannot be read."""

ATTEMPTS = 3
"""How often a question is asked before the answer is that there is none."""
PAUSE = 0.25
"""Seconds before the second attempt; each further one waits twice as long."""


class Store(Protocol):
    """One verifier's reference values."""

    @property
    def where(self) -> str:
        """What messages call it."""

    def read(self, names: Iterable[str]) -> dict[str, Any]:
        """Return the values of those names that are registered.

        Raises:
            RemoteError: it refused (PVB652) or could not be asked (PVB653).
        """

    def write(self, values: Mapping[str, Any]) -> None:
        """Register values; each overwrites what has its name.

        Raises:
            RemoteError: it refused, and then holds what it held (PVB652); or it is not known what it did (PVB653).
        """
