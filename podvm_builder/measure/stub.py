"""What each version of systemd-stub measures, as data, and where that knowledge ends.

Sources: systemd's source by tag, and boots of stub 252, 257 and 262 whose logs are among the tests' vectors. Numbers
in between follow the source. A UKI or a version outside what is known makes registers unpredictable, never a guess.
"""

from __future__ import annotations

from dataclasses import dataclass

from podvm_builder.formats.uki import MEASURED_SINCE, SECTIONS, Uki

OLDEST = 252
NEWEST = 262
"""The versions of which it is known what they measure."""

_ALWAYS = {".linux", ".osrel", ".cmdline", ".initrd", ".splash", ".dtb", ".pcrpkey"}
_CHOSEN = {".dtbauto": 257, ".efifw": 258}
"""Sections of which the stub measures the one for its machine, if any, and since when. It knows its machine by the
firmware's devicetree, or by `.hwids`, whose entries are digests of SMBIOS fields; ``pe.c`` of systemd."""
_X86 = (0x14C, 0x8664)
"""Machine types of PE images whose firmware has no devicetree."""

SMBIOS_SINCE = 261
"""The version from which on the stub measures SMBIOS structures, into PCR 1."""

NO_CMDLINE = "the UKI has no command line, so that it comes from the firmware's boot option"
_BLANKS = dict.fromkeys((*range(0x21), 0x7F), " ")
"""Control characters and blanks, which the stub turns into blanks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StubRules:
    """How one version of the stub measures."""

    version: int
    sections: tuple[str, ...]
    """Sections that extend PCR 11 where they are present, in order; `.pcrsig` never does."""
    loads_kernel_by_firmware: bool
    """The inner kernel goes through the firmware's LoadImage(), which measures it unless secure boot is on (the stub
    then overrides the firmware's check, and the measuring with it); newer stubs load the kernel themselves."""
    initrd_ucode: bool
    """`.ucode` is put before the initrd."""
    initrd_osrel: bool
    """`.osrel` is handed to the initrd in a cpio of its own."""
    initrd_profile: bool
    """`.profile` is handed to the initrd in a cpio of its own, behind `.osrel`."""
    sidecars: bool
    """It is known how addons, credentials and extensions of the EFI system partition are measured."""
    mangles_cmdline: bool
    """Blanks around the command line are cut and control characters inside become spaces; before, that is not known."""


def stub_rules(version: int | None) -> StubRules | None:
    """Return the rules of a version, None where they are not known."""
    if version is None or not OLDEST <= version <= NEWEST:
        return None
    return StubRules(
        version=version,
        sections=tuple(name for name in SECTIONS if name in _ALWAYS or version >= MEASURED_SINCE.get(name, NEWEST + 1)),
        loads_kernel_by_firmware=version <= 257,
        initrd_ucode=version >= 256,
        initrd_osrel=version >= 257,
        initrd_profile=version >= 257,
        sidecars=version >= 257,
        mangles_cmdline=version >= 254,
    )


def stub_doubts(uki: Uki, *, separators: bool) -> dict[int, str]:
    """Return the PCRs that this UKI's stub leaves unpredictable, each with the reason.

    Args:
        uki: the image.
        separators: whether systemd 259 and newer may extend its separators, because the units that do it
            (``systemd-pcrosseparator``, ``systemd-pcrnvdone``) are not known to be absent or masked.
    """
    version = uki.stub_version
    if stub_rules(version) is None:
        said = "the UKI does not name its stub's version" if version is None else f"systemd-stub {version} is not known"
        # what userspace of an unknown new version extends besides is as unknown
        old = version is not None and version < OLDEST
        pcrs = (4, 9, 11, 12, 13) if old or not separators else (4, 5, 7, 9, 11, 12, 13, 14)
        return dict.fromkeys(pcrs, f"{said}; known are {OLDEST} to {NEWEST}")
    assert version is not None  # noqa: S101 - there are rules, so there is a version
    doubts: dict[int, str] = {}
    if ".profile" in uki.sections and version < MEASURED_SINCE[".profile"]:
        said = "the UKI has a `.profile` section, and what this version of the stub makes of it is not settled here"
        doubts |= dict.fromkeys((9, 11, 12), said)
    for name, since in _CHOSEN.items():
        # an x86 machine knows itself by `.hwids` alone: without that, none is taken
        by_machine = ".hwids" in uki.sections or uki.image.machine not in _X86
        if name in uki.sections and version >= since and by_machine:
            doubts[11] = f"the UKI has `{name}` sections, of which the stub measures the one for its machine, if any"
    if separators and version >= 261:
        said = "systemd 261 and newer extend `os-separator` here where the initrd holds systemd-pcrosseparator.service"
        doubts |= dict.fromkeys((4, 5, 7, 12, 13, 14), said) | doubts
    if version >= 261:
        doubts[9] = "systemd-stub 261 and newer hand a boot secret to the initrd that differs on every machine"
    elif separators and version >= 259:
        doubts[9] = "systemd 259 and newer extend `nvpcr-separator` here where systemd-pcrnvdone.service runs"
    return doubts


def mangle_cmdline(text: str) -> str:
    """Return a command line as the stub hands it on: control characters are blanks, and those around it are cut."""
    return text.translate(_BLANKS).strip(" ")


def command_line(uki: Uki, rules: StubRules) -> tuple[str | None, str | None]:
    """Return the command line that the kernel gets, or None and the reason why that is not known."""
    raw = uki.text(".cmdline").split(b"\0")[0]
    if not raw.isascii():
        return None, "the command line is not ASCII, and how the stub widens it is not settled here"
    text = mangle_cmdline(raw.decode("ascii"))
    if not text:
        return None, NO_CMDLINE
    if text.encode() != raw and not rules.mangles_cmdline:
        return None, f"how systemd-stub {rules.version} treats blanks around the command line is not settled here"
    return text, None
