"""Registries: the client, its store of blobs, and the credentials it uses.

The libraries behind it are loaded when a name of this package is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from podvm_builder.errors import Lacking

if TYPE_CHECKING:
    from podvm_builder.tools.oci.client import RegistryClient
    from podvm_builder.tools.oci.config import DockerConfig
    from podvm_builder.tools.oci.hosts import Hosts
    from podvm_builder.tools.oci.policy import Retries, Timeouts
    from podvm_builder.tools.oci.progress import Transfers
    from podvm_builder.tools.oci.store import BlobStore, default_store

_HOMES = {
    "RegistryClient": "client",
    "DockerConfig": "config",
    "Hosts": "hosts",
    "Retries": "policy",
    "Timeouts": "policy",
    "Transfers": "progress",
    "BlobStore": "store",
    "default_store": "store",
}

__all__ = ["BlobStore", "DockerConfig", "Hosts", "RegistryClient", "Retries", "Timeouts", "Transfers", "default_store"]


def __getattr__(name: str) -> Any:
    """Load a name of this package.

    Raises:
        Lacking: PVB710, the libraries for registries are not installed.
    """
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    try:
        return getattr(importlib.import_module(f"{__name__}.{home}"), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("oras", "requests", "urllib3"):
            raise
        raise Lacking(
            f"pulling from a registry needs `{error.name}`, which is not installed",
            code="PVB710",
            hint="pip install 'podvm-build[oci]'",
        ) from None
