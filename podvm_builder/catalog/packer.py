"""What is known of Packer: its builders, their plugins, and the options that each takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from podvm_builder.catalog.load import ROOT, catalogue_file
from podvm_builder.catalog.rows import Row

STOPS = ("api", "guest")
"""Who ends the machine before its disk becomes an image: the builder by the cloud's interface, or the guest itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What one kind of block takes."""

    options: Mapping[str, str]
    """Option to type: ``string``, ``number``, ``bool``, ``list(…)``, ``map(string)``, or ``block NAME`` and
    ``blocks NAME`` where it is one block or several."""
    blocks: Mapping[str, Mapping[str, str]]
    """The same for blocks below it whose options are known, by the name that their type has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """One of Packer's builders."""

    name: str
    title: str
    plugin: str
    """Name of its plugin in ``required_plugins``."""
    source: str
    version: str
    """The release whose options are known, and which a template asks for."""
    required: tuple[tuple[str, ...], ...]
    """Options that must be there; of several, one."""
    stop: str
    """One of :data:`STOPS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackerFacts:
    """All that is known of Packer."""

    required_version: str
    builders: Mapping[str, Builder]
    options: Mapping[str, Options]
    """By builder, and by ``provisioner NAME`` and ``post-processor NAME``."""


@cache
def packer_facts() -> PackerFacts:
    """Return what is known of Packer; only its recipes read it."""
    row = catalogue_file("packer.yaml").only("required_version", "builders")
    listed = json.loads((files(ROOT) / "packer-options.json").read_text(encoding="utf-8"))
    return PackerFacts(
        required_version=row.text("required_version"),
        builders={name: _builder(name, builder) for name, builder in row.row("builders").rows()},
        options={name: Options(options=one["options"], blocks=one["blocks"]) for name, one in listed.items()},
    )


def _builder(name: str, row: Row) -> Builder:
    row.only("title", "plugin", "required", "stop")
    plugin = row.row("plugin").only("name", "source", "version")
    if row.text("stop") not in STOPS:
        raise row.wrong(f"`stop` must be one of {', '.join(STOPS)}")
    return Builder(
        name=name,
        title=row.text("title"),
        plugin=plugin.text("name"),
        source=plugin.text("source"),
        version=plugin.text("version"),
        required=tuple(tuple(names.split("|")) for names in row.texts("required")),
        stop=row.text("stop"),
    )
