"""Reads the catalogue: package data in, typed and frozen values out, once a process."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from podvm_builder.catalog.entries import (
    LEVELS,
    LOADERS,
    Architecture,
    Catalogue,
    Distro,
    DistroFeature,
    Firmware,
    KnownFirmware,
    PackerDistro,
    Proof,
    Tee,
    Tools,
    Variant,
)
from podvm_builder.catalog.lint_facts import ContractItem, LintFacts, contract_item, lint_facts
from podvm_builder.catalog.load_cloud import cloud
from podvm_builder.catalog.rows import Row
from podvm_builder.catalog.settings import Edit
from podvm_builder.catalog.yaml_nodes import MapNode
from podvm_builder.catalog.yaml_source import read_yaml

ROOT = "podvm_builder.catalog"


@cache
def catalogue() -> Catalogue:
    """Return the catalogue that comes with the program."""
    return load(files(ROOT))


@cache
def lint_knowledge() -> LintFacts:
    """Return what the rules of lint know; only they read it."""
    return lint_facts(_file(files(ROOT) / "lint.yaml", "lint.yaml"))


@cache
def contract_items() -> tuple[ContractItem, ...]:
    """Return the guest's contract, item by item."""
    row = _file(files(ROOT) / "contract.yaml", "contract.yaml").only("items")
    return tuple(map(contract_item, row.row_list("items")))


def catalogue_file(name: str) -> Row:
    """Return the mapping of one file of the catalogue."""
    return _file(files(ROOT) / name, name)


def load(root: Traversable) -> Catalogue:
    """Read a catalogue from a folder.

    Raises:
        ValueError: a file is not what it should be; its name, line and the mistake are in the message.
    """
    defaults = _file(root / "defaults.yaml", "defaults.yaml").only("settings", "phase_units")
    families = {row.text("name"): _family(row) for row in _folder(root, "families")}
    return Catalogue(
        architectures={row.text("name"): _architecture(row) for row in _folder(root, "architectures")},
        distros={row.text("name"): _distro(row, families) for row in _folder(root, "distros")},
        tees=_ordered({row.text("name"): _tee(row) for row in _folder(root, "tees")}),
        clouds={row.text("name"): cloud(row) for row in _folder(root, "clouds")},
        variants={row.text("name"): _variant(row) for row in _folder(root, "variants")},
        features={row.text("name"): _variant(row) for row in _folder(root, "features")},
        firmware={name: _firmware(name, row) for name, row in _file(root / "firmware.yaml", "firmware.yaml").rows()},
        tools=_tools(_file(root / "tools.yaml", "tools.yaml")),
        proofs=tuple(map(_proof, _file(root / "levels.yaml", "levels.yaml").row_list("proofs"))),
        defaults=defaults.row("settings").edits(lists_may_be_set=True),
        phase_units=defaults.texts("phase_units"),
    )


def _ordered(tees: dict[str, Tee]) -> Mapping[str, Tee]:
    # supported ones first, `none` before all: the order in which lists show them
    return dict(sorted(tees.items(), key=lambda item: (item[1].reason is not None, item[0] != "none", item[0])))


def _folder(root: Traversable, name: str) -> list[Row]:
    folder = root / name
    if not folder.is_dir():
        return []
    found = sorted((file for file in folder.iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name)
    rows = [_file(file, f"{name}/{file.name}") for file in found]
    for file, row in zip(found, rows, strict=True):
        if file.name != f"{row.text('name')}.yaml":
            raise row.wrong(f"the entry is named `{row.text('name')}`")
    return rows


def _file(file: Traversable, name: str) -> Row:
    document = read_yaml(file.read_text(encoding="utf-8"), file=f"catalog/{name}", trusted=True)
    if document.errors:
        raise ValueError(f"catalog/{name}: {document.errors[0].message}")
    if not isinstance(document.root, MapNode):
        raise ValueError(f"catalog/{name}: must be a mapping")
    return Row(document, document.root)


def _architecture(row: Row) -> Architecture:
    row.only("name", "title", "mkosi", "loader", "consoles", "settings")
    if row.text("loader") not in LOADERS:
        raise row.wrong(f"`loader` must be one of {', '.join(LOADERS)}")
    return Architecture(
        name=row.text("name"),
        title=row.text("title"),
        mkosi=row.text("mkosi"),
        loader=row.text("loader"),
        consoles=row.texts("consoles"),
        edits=row.row("settings").edits(),
    )


def _family(row: Row) -> tuple[Edit, ...]:
    return row.only("name", "title", "settings").row("settings").edits()


def _distro(row: Row, families: Mapping[str, tuple[Edit, ...]]) -> Distro:
    row.only(
        "name",
        "title",
        "builder",
        "family",
        "mkosi",
        "os_id",
        "tees",
        "clouds",
        "names",
        "settings",
        "features",
        "architectures",
        "packer",
    )
    if row.text("family") not in families:
        raise row.wrong(f"`family` must be one of {', '.join(families)}")
    mkosi = row.row("mkosi").only("distribution", "release", "repositories")
    return Distro(
        name=row.text("name"),
        title=row.text("title"),
        builder=row.text("builder"),
        distribution=mkosi.text("distribution"),
        release=mkosi.text("release"),
        repositories=mkosi.texts("repositories"),
        os_id=row.text("os_id"),
        tees=row.row("tees").text_map(),
        clouds=row.row("clouds").text_map(),
        names=row.text("names"),
        edits=(*families[row.text("family")], *row.row("settings").edits()),
        architectures={name: arch.edits() for name, arch in row.row("architectures").rows()},
        features={name: _distro_feature(feature) for name, feature in row.row("features").rows()},
        place=row.place,
        packer=_packer_distro(row.row("packer")) if row.has("packer") else None,
    )


def _packer_distro(row: Row) -> PackerDistro:
    row.only("manager", "user", "registration", "selinux", "bases")
    return PackerDistro(
        manager=row.text("manager"),
        user=row.text("user"),
        registration=row.maybe("registration"),
        selinux=row.flag("selinux"),
        bases={name: base.text_map() for name, base in row.row("bases").rows()},
    )


def _distro_feature(row: Row) -> DistroFeature:
    row.only("repositories", "settings")
    return DistroFeature(repositories=row.texts("repositories"), edits=row.row("settings").edits())


def _tee(row: Row) -> Tee:
    row.only(
        "name", "title", "architectures", "reason", "nearest", "drivers", "settings", "per_architecture", "encrypted"
    )
    return Tee(
        name=row.text("name"),
        title=row.text("title"),
        architectures=row.texts("architectures"),
        reason=row.maybe("reason"),
        nearest=row.maybe("nearest"),
        drivers=row.texts("drivers"),
        edits=row.row("settings").edits(),
        encrypted=row.has("encrypted") and row.flag("encrypted"),
        architecture_edits={
            name: arch.only("settings", "drivers").row("settings").edits()
            for name, arch in row.row("per_architecture").rows()
        },
        architecture_drivers={
            name: arch.texts("drivers") for name, arch in row.row("per_architecture").rows() if arch.has("drivers")
        },
    )


def _variant(row: Row) -> Variant:
    row.only("name", "title", "per_distro", "settings", "lint")
    return Variant(
        name=row.text("name"),
        title=row.text("title"),
        per_distro=row.has("per_distro") and row.flag("per_distro"),
        edits=row.row("settings").edits(),
        lint_allows=row.row("lint").only("allow").texts("allow"),
    )


def _firmware(name: str, row: Row) -> Firmware:
    row.only("title", "package", "suite", "path", "snp", "tdx", "kernel_hashes", "secure_boot", "known", "source")
    return Firmware(
        name=name,
        title=row.text("title"),
        package=row.text("package"),
        suite=row.text("suite"),
        path=row.text("path"),
        snp=row.flag("snp"),
        tdx=row.flag("tdx"),
        kernel_hashes=row.flag("kernel_hashes"),
        secure_boot=row.text("secure_boot"),
        known={sha256: _known_firmware(sha256, known) for sha256, known in row.row("known").rows()},
        source=row.text("source"),
    )


def _known_firmware(sha256: str, row: Row) -> KnownFirmware:
    row.only("version", "snp", "tdx", "kernel_hashes")
    if len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
        raise row.wrong(f"`{sha256}` is not a SHA-256 in hex")
    return KnownFirmware(
        sha256=sha256,
        version=row.text("version"),
        snp=row.flag("snp"),
        tdx=row.flag("tdx"),
        kernel_hashes=row.flag("kernel_hashes"),
    )


def _tools(row: Row) -> Tools:
    row.only("distribution", "suite", "packages")
    return Tools(
        distribution=row.text("distribution"),
        suite=row.text("suite"),
        packages=tuple(sorted(set(row.texts("packages")))),
    )


def _proof(row: Row) -> Proof:
    row.only("level", "targets", "test", "builder")
    if row.text("level") not in LEVELS:
        raise row.wrong(f"`level` must be one of {', '.join(LEVELS)}")
    return Proof(
        level=row.text("level"), targets=row.texts("targets"), test=row.text("test"), builder=row.maybe("builder")
    )
