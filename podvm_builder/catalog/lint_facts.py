"""What the rules of lint know, and the guest's contract: two files of the catalogue, typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from podvm_builder.catalog.pages import error_codes
from podvm_builder.catalog.rows import Row

_RULES = range(810, 880)
"""Numbers of the codes that rules have."""


def lint_codes() -> tuple[str, ...]:
    """Return the codes that a profile may suppress: those of the rules."""
    return tuple(code for code in error_codes() if int(code.removeprefix("PVB")) in _RULES)


@dataclass(frozen=True, slots=True, kw_only=True)
class LintFacts:
    """Names and patterns; what each is for stands in ``catalog/lint.yaml``."""

    made_at_boot: tuple[str, ...]
    dangling: tuple[str, ...]
    modes: Mapping[str, int]
    """Path to the permissions that are the most."""
    setuid: tuple[str, ...]
    owned: tuple[str, ...]
    unwanted_units: Mapping[str, str]
    login_units: tuple[str, ...]
    ssh_programs: tuple[str, ...]
    ssh_packages: tuple[str, ...]
    unwanted_packages: Mapping[str, str]
    listeners: tuple[str, ...]
    daemons: Mapping[str, str]
    shell_words: Mapping[str, str]
    verity_words: Mapping[str, str]
    pcr_programs: tuple[str, ...]
    pcr_units: tuple[str, ...]
    phases_of_root: tuple[str, ...]
    compiled_in: tuple[str, ...]
    identities: Mapping[str, str]
    leftovers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractItem:
    """One thing that cloud-api-adaptor's guest has, and what ours has in its place."""

    group: str
    path: str
    """In the image, without the leading slash."""
    kind: str
    """``program``, ``file``, ``folder``, ``link``, ``unit``, ``module`` or ``absent``."""
    said: str
    """What the contract is."""
    differs: str
    """What is deliberately otherwise in ours, and why; empty if nothing is."""
    mode: int | None
    contains: tuple[str, ...]
    """Texts that the file must hold, whatever the width of spaces."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Of a unit: section and key, with a dot between, to the value."""
    without: tuple[str, ...] = ()
    """Of a unit: sections and keys that it must not set."""
    started: bool = False
    """Of a unit: whether it must be started sooner or later."""
    target: str = ""
    """Where a link leads."""
    choice: str = ""
    """Setting of the profile that may mask a unit."""
    features: tuple[str, ...] = ()
    """Only images with one of these features have it; all if empty."""

    @property
    def module(self) -> str:
        """Of a module: its name, as the kernel spells it."""
        return self.path.rpartition("/")[2].removesuffix(".ko").replace("-", "_")


def lint_facts(row: Row) -> LintFacts:
    """Read ``lint.yaml``.

    Raises:
        ValueError: it is not what it should be.
    """
    row.only(
        *("made_at_boot", "dangling", "modes", "setuid", "owned", "units", "ssh", "packages", "listeners", "daemons"),
        *("shell_words", "verity_words", "pcr", "compiled_in", "identities", "leftovers"),
    )
    units = row.row("units").only("unwanted", "login")
    ssh = row.row("ssh").only("programs", "packages")
    pcr = row.row("pcr").only("programs", "units", "phases")
    return LintFacts(
        made_at_boot=row.texts("made_at_boot"),
        dangling=row.texts("dangling"),
        modes={path: int(mode, 8) for path, mode in row.row("modes").text_map().items()},
        setuid=row.texts("setuid"),
        owned=row.texts("owned"),
        unwanted_units=units.row("unwanted").text_map(),
        login_units=units.texts("login"),
        ssh_programs=ssh.texts("programs"),
        ssh_packages=ssh.texts("packages"),
        unwanted_packages=row.row("packages").text_map(),
        listeners=row.texts("listeners"),
        daemons=row.row("daemons").text_map(),
        shell_words=row.row("shell_words").text_map(),
        verity_words=row.row("verity_words").text_map(),
        pcr_programs=pcr.texts("programs"),
        pcr_units=pcr.texts("units"),
        phases_of_root=pcr.texts("phases"),
        compiled_in=row.texts("compiled_in"),
        identities=row.row("identities").text_map(),
        leftovers=row.row("leftovers").text_map(),
    )


def contract_item(row: Row) -> ContractItem:
    """Read one item of ``contract.yaml``.

    Raises:
        ValueError: it is not what it should be.
    """
    row.only(
        *("group", "path", "kind", "said", "differs", "mode", "contains", "settings", "started", "features"),
        *("target", "choice", "without"),
    )
    if row.text("kind") not in ("program", "file", "folder", "link", "unit", "module", "absent"):
        raise row.wrong(f"`kind` is `{row.text('kind')}`")
    mode = row.maybe("mode")
    return ContractItem(
        group=row.text("group"),
        path=row.text("path"),
        kind=row.text("kind"),
        said=row.text("said"),
        differs=row.maybe("differs") or "",
        mode=None if mode is None else int(mode, 8),
        contains=row.texts("contains"),
        settings=row.row("settings").text_map(),
        without=row.texts("without"),
        started=row.has("started") and row.flag("started"),
        features=row.texts("features"),
        target=row.maybe("target") or "",
        choice=row.maybe("choice") or "",
    )
