"""Sets and locks as files, and the supplier behind them, for the commands that use components."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from podvm_builder.errors import InputError, Place
from podvm_builder.tools.inputs import open_input

if TYPE_CHECKING:
    from podvm_builder.build.components.supplier import Supplier
    from podvm_builder.model.components import ComponentLock, ComponentSet
    from podvm_builder.tools.oci.client import RegistryClient

_MAX_TEXT = 512 << 10
"""Bytes; more than the YAML reader takes, so that it says that a file is too large."""


def read_text(path: Path, *, what: str) -> str:
    """Read a YAML file.

    Raises:
        InputError: PVB749, it cannot be read or is not UTF-8.
    """
    with open_input(path, what=what, code="PVB749", place=Place(file=str(path))) as file:
        data = file.read(_MAX_TEXT)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{what} is not UTF-8 (byte {error.start})",
            code="PVB749",
            place=Place(file=str(path)),
            hint="save it as UTF-8 text",
        ) from None


def read_lock(path: Path) -> ComponentLock:
    """Read a component lock.

    Raises:
        InputError: PVB749, it cannot be read; others of :func:`~podvm_builder.supply.lock_document.parse_lock`.
    """
    from podvm_builder.supply.lock_document import parse_lock

    return parse_lock(read_text(path, what="the component lock"), file=str(path))


def read_set(path: Path) -> ComponentSet:
    """Read a component set.

    Raises:
        InputError: PVB749, it cannot be read; others of :func:`~podvm_builder.supply.set_document.parse_set`.
    """
    from podvm_builder.supply.set_document import parse_set

    return parse_set(read_text(path, what="the component set"), file=str(path))


@contextmanager
def supplier(folder: Path, cache: Path) -> Iterator[Supplier]:
    """Give a supplier for the paths of a folder; its registry client is closed at the end."""
    import sys

    from podvm_builder.build.components.supplier import open_supplier
    from podvm_builder.cli.place import say
    from podvm_builder.tools.oci import Transfers, default_store

    store = default_store(cache)

    def client() -> RegistryClient:
        from podvm_builder.tools.oci import DockerConfig, Hosts, RegistryClient

        return RegistryClient(store=store, config=DockerConfig.load(), hosts=Hosts.load(), progress=transfers, warn=say)

    with Transfers(sys.stderr) as transfers:
        reached = open_supplier(base=folder, store=store, open_client=client)
        try:
            yield reached
        finally:
            reached.close()
