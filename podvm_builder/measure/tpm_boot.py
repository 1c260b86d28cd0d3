"""Which PCRs of a boot have no value, and why: the image's version of systemd, its userspace, the platform.

Specification: TCG PC Client Platform Firmware Profile 1.06 §3.3.4 for what each PCR holds; systemd's "TPM2 PCR
Measurements Made by systemd" for 9 and 11-15.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from podvm_builder.formats.gpt import Gpt
from podvm_builder.formats.uki import Uki
from podvm_builder.measure.artifacts import BootArtifacts
from podvm_builder.measure.boot_log import DISK
from podvm_builder.measure.platform import check_profile, platform_gaps, profile_keys
from podvm_builder.measure.secure_boot import Keys
from podvm_builder.measure.sidecars import Sidecars
from podvm_builder.measure.stub import NO_CMDLINE, SMBIOS_SINCE, command_line, stub_doubts, stub_rules
from podvm_builder.measure.userspace import Userspace
from podvm_builder.model.measurement import Status
from podvm_builder.model.platform import Part, PlatformProfile

_OLDEST_KERNEL = (5, 19)
PLATFORM_REASONS = {
    0: "firmware code and version: learn it from a known machine",
    1: "firmware settings, ACPI and SMBIOS tables and boot entries: they follow the machine's shape",
    2: "option ROMs and drivers of the machine",
    3: "settings of option ROMs and drivers of the machine",
    6: "the platform maker's, on some clouds the machine's identity",
}
_FIXED: Mapping[int, tuple[Status, str]] = {
    10: (Status.UNPREDICTABLE, "IMA extends it with the boot aggregate, which covers the platform's PCRs"),
    15: (Status.PER_VM, "systemd extends machine id, file systems and volume keys where its units run"),
}
_SMBIOS = "systemd-stub 261 and newer measure SMBIOS structures here, and in them the machine's UUID"

Finding = tuple[Status, str]
"""Why a register has no value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TpmBoot:
    """One way to boot, all of whose inputs are stated."""

    boot: str = DISK
    """One of :data:`podvm_builder.model.plan.BOOT_PATHS`."""
    secure_boot: str = "absent"
    """One of :data:`podvm_builder.model.plan.SECURE_BOOT`."""
    phases: tuple[str, ...] = ()
    """Words that systemd's boot phase units extend PCR 11 with; empty where those units are masked."""
    separators: bool = True
    """Whether units of systemd 259 and newer may extend their separators, where nobody looked into the image."""
    keys: Keys | None = None
    """The firmware's secure-boot variables, where they are known."""
    userspace: Userspace | None = None
    """What the image's initrd and root were found to extend; None where nobody looked."""
    platform: Mapping[int, str] = field(default_factory=dict)
    """Further PCRs that this machine's firmware decides, each with the reason."""
    missing: Mapping[int, str] = field(default_factory=dict)
    """PCRs that need an input which is not at hand, each with the reason."""
    profile: PlatformProfile | None = None
    """What was learnt of the machine; its keys and state of secure boot are those of this boot (:func:`on_machine`)."""


def on_machine(boot: TpmBoot, profile: PlatformProfile, *, secure_boot: str | None = None) -> TpmBoot:
    """Return a boot on the machine that a profile was learnt from.

    Args:
        boot: the boot; keys that it has must be those of the profile.
        profile: learnt from a TPM's log.
        secure_boot: the state where one was asked for; else the profile's counts.

    Raises:
        InputError: PVB262, the profile is that of another kind of machine or boot.
        FormatError: PVB250, PVB263, its variables are damaged.
    """
    check_profile(profile, kind="tpm", boot=boot.boot, secure_boot=secure_boot, keys=boot.keys)
    return replace(boot, profile=profile, secure_boot=profile.secure_boot, keys=profile_keys(profile))


def unknown_registers(artifacts: BootArtifacts, boot: TpmBoot, sidecars: Sidecars) -> dict[int, Finding]:
    """Return the registers without a value, each with its status and the reason; the strongest reason wins."""
    unknown = dict(_FIXED)
    if boot.profile is None:
        unknown |= {pcr: (Status.PLATFORM, reason) for pcr, reason in PLATFORM_REASONS.items()}
    elif (artifacts.uki.stub_version or 0) >= SMBIOS_SINCE:
        unknown[1] = (Status.PER_VM, _SMBIOS)
    unknown |= _unknown_kernel(artifacts.uki)
    if boot.boot == DISK and artifacts.gpt is None:
        unknown[5] = (
            Status.NOT_COMPUTED,
            "covers the disk's partition table; give the image rather than the UKI alone",
        )
    if boot.secure_boot == "on" and boot.keys is None:
        unknown[7] = (Status.NOT_COMPUTED, "covers the firmware's keys; no variable store was given")
    if artifacts.loader is not None and boot.boot == DISK:
        unknown |= {pcr: (Status.UNPREDICTABLE, reason) for pcr, reason in artifacts.loader.doubts.items()}
        if artifacts.uki.profiles:
            reason = (
                "systemd-boot offers each profile of the UKI as an entry, and how it names the first is not settled"
            )
            unknown |= dict.fromkeys((9, 11, 12), (Status.UNPREDICTABLE, reason))
    # where somebody looked into the image, what it was found to hold takes the place of what its version may do
    guesses = boot.separators and boot.userspace is None
    doubts = stub_doubts(artifacts.uki, separators=guesses)
    unknown |= {pcr: (Status.UNPREDICTABLE, reason) for pcr, reason in doubts.items()}
    if boot.userspace is not None:
        unknown = _userspace(unknown, boot, boot.userspace)
    if artifacts.extras and boot.boot == DISK and not sidecars.present:
        rules = stub_rules(artifacts.uki.stub_version)
        if rules is None or not rules.sidecars:
            reason = (
                f"systemd-stub also loads `{artifacts.extras[0]}`, "
                f"and what version {artifacts.uki.stub} makes of it is not settled here"
            )
            unknown |= dict.fromkeys((4, 9, 12, 13), (Status.UNPREDICTABLE, reason))
    if boot.profile is not None:
        unknown = _as_learnt(unknown, boot.profile, artifacts.gpt)
    unknown |= {pcr: (Status.PLATFORM, reason) for pcr, reason in boot.platform.items()}
    return unknown | {pcr: (Status.NOT_COMPUTED, reason) for pcr, reason in boot.missing.items()}


def _as_learnt(unknown: dict[int, Finding], profile: PlatformProfile, gpt: Gpt | None) -> dict[int, Finding]:
    """Move what is said of programs and the partition table to the registers that this firmware measures them into."""
    for pcr, part in ((4, Part.PROGRAM), (5, Part.TABLE)):
        register = profile.register_of(part)
        if register not in (pcr, None) and pcr in unknown:
            unknown.setdefault(register, unknown.pop(pcr))
    gaps = {pcr: (Status.PLATFORM, reason) for pcr, reason in platform_gaps(profile, gpt).items()}
    return gaps | unknown


def _unknown_kernel(uki: Uki) -> dict[int, Finding]:
    """Return what the command line and the kernel's version leave unknown."""
    unknown: dict[int, Finding] = {}
    rules = stub_rules(uki.stub_version)
    if rules is not None:
        reason = command_line(uki, rules)[1]
        if reason is not None:
            unknown[9] = (Status.UNPREDICTABLE, reason)
        if reason == NO_CMDLINE:
            unknown[12] = (Status.UNPREDICTABLE, reason)
    if uki.kernel_release is None:
        unknown[9] = (
            Status.UNPREDICTABLE,
            "the kernel does not say its version, so that what it measures is not known",
        )
    elif uki.kernel_release < _OLDEST_KERNEL:
        unknown[9] = (Status.UNPREDICTABLE, "kernels before 5.19 do not all measure their command line and initrd")
    return unknown


def _userspace(unknown: dict[int, Finding], boot: TpmBoot, userspace: Userspace) -> dict[int, Finding]:
    """Add what the image was found to extend, and take away what it was found not to."""
    doubts = {pcr: (Status.UNPREDICTABLE, reason) for pcr, reason in userspace.doubts.items()}
    if boot.phases:
        doubts.pop(11, None)  # the caller says which phases there are
    merged = doubts | unknown
    for pcr in userspace.untouched:
        merged.pop(pcr, None)
    return merged
