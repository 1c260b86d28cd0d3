"""A boot's log on a machine with a platform profile: the firmware's events as learnt, the image's as predicted."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace

from podvm_builder.errors import FormatError, InputError
from podvm_builder.formats.gpt import Gpt
from podvm_builder.measure.boot_log import EXITED
from podvm_builder.measure.learn import AUTHORITY, CONFIG, PROGRAM, variable
from podvm_builder.measure.secure_boot import Keys
from podvm_builder.model.event import Event
from podvm_builder.model.measurement import Basis
from podvm_builder.model.platform import Part, PlatformProfile, Slot

CODE = "PVB262"
LEARNT = "learnt from a log of this platform: holds for the same firmware, settings and shape of the machine"
LEARNT_FROM = "platform profile"
"""Source of the firmware's events in a log that a profile made."""

_BOOT_VARIABLES = ("EV_EFI_VARIABLE_BOOT", "EV_EFI_VARIABLE_BOOT2")
_PARTITION = "a boot entry of the profile names a partition that is not one of this image"
_NOT_SEEN = "the log that the profile was learnt from has no event of it"
_DAMAGED = "a boot entry of the profile cannot be read"
_KEYS = ("PK", "KEK", "db", "dbx", "dbt", "dbr")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """An image's events, by the places that firmware leaves for them."""

    table: tuple[Event, ...]
    program: tuple[Event, ...]
    rest: tuple[Event, ...]
    late: tuple[Event, ...]
    """Behind the exit of boot services: userspace's."""


def profile_basis(profile: PlatformProfile) -> Basis:
    """Name a profile as what a value is based on."""
    return Basis(kind="platform-profile", digest=profile.digest)


def profile_keys(profile: PlatformProfile) -> Keys | None:
    """Return the secure-boot variables that the firmware measured; None where it holds none.

    Raises:
        FormatError: PVB250, PVB263, one of them is damaged.
    """
    found = dict(variable(event) for event in profile.events if event.kind == CONFIG and event.pcr == 7)
    keys = Keys(**{name.lower(): found.get(name, b"") for name in _KEYS})
    return keys if profile.secure_boot != "absent" else None


def check_profile(
    profile: PlatformProfile,
    *,
    kind: str,
    boot: str | None = None,
    secure_boot: str | None = None,
    keys: Keys | None = None,
    firmware: str | None = None,
    vmm: str | None = None,
) -> None:
    """Refuse a profile that is not of the machine that is asked for; what is None was not asked for.

    Args:
        profile: learnt.
        kind: ``tpm`` or ``ccel``.
        boot: boot path.
        secure_boot: its state.
        keys: the firmware's variables, from elsewhere.
        firmware: ``sha256:…`` of the image.
        vmm: name of the VMM.

    Raises:
        InputError: PVB262.
    """
    known = profile.facts
    for what, wanted, found in (
        ("a log of kind", kind, profile.kind),
        ("the boot path", boot, profile.boot),
        ("secure boot", secure_boot, profile.secure_boot),
        ("firmware", firmware, known.get("firmware")),
        ("VMM", vmm, known.get("vmm")),
    ):
        if wanted is not None and found is not None and wanted != found:
            raise InputError(
                f"the platform profile was learnt with {what} `{found}`, and `{wanted}` is asked for",
                code=CODE,
                hint="learn a profile from a boot of the machine that is meant: podvm-build evidence learn LOG",
            )
    if keys is not None and keys != (profile_keys(profile) or Keys()):
        raise InputError(
            "the platform profile holds other secure-boot keys than those that are given",
            code=CODE,
            hint="leave out the keys: the profile has them",
        )


def log_gaps(profile: PlatformProfile) -> dict[int, str]:
    """Return the PCRs below 8 that a profile's log did not teach, each with the reason."""
    if profile.kind != "tpm":
        return dict(profile.gaps)
    seen = {entry.pcr for entry in profile.entries}
    return {pcr: _NOT_SEEN for pcr in range(8) if pcr not in seen} | dict(profile.gaps)


def platform_gaps(profile: PlatformProfile, gpt: Gpt | None) -> dict[int, str]:
    """Return the PCRs below 8 that a profile cannot give for an image with this partition table, with the reason."""
    reason = _boot_entries(profile, gpt)
    return log_gaps(profile) | ({1: reason} if reason else {})


def on_platform(profile: PlatformProfile, log: Sequence[Event], algorithms: Sequence[str]) -> tuple[Event, ...]:
    """Return a boot's log as this firmware writes it.

    Args:
        profile: of the machine.
        log: what :func:`podvm_builder.measure.boot_log.boot_log` returns, of the same boot path.
        algorithms: banks; the firmware's events have digests for those that the profile has.

    Raises:
        InputError: PVB262, the profile has none of the banks.
    """
    known = [name for name in algorithms if name in profile.banks]
    if not known:
        banks = ", ".join(profile.banks)
        raise InputError(f"the platform profile has the banks {banks}, and none of those that are asked for", code=CODE)
    said = {event.digests[known[0]] for event in profile.events if event.kind == AUTHORITY}
    parts = _split([event for event in log if not (event.kind == AUTHORITY and event.digests[known[0]] in said)])
    events: list[Event] = []
    started = False
    for entry in profile.entries:
        if isinstance(entry, Event):
            events.append(replace(entry, source=LEARNT_FROM, digests={name: entry.digests[name] for name in known}))
            continue
        match entry.part:
            case Part.TABLE:
                events += [replace(event, pcr=entry.pcr) for event in parts.table]
            case Part.PROGRAM:
                # what let it pass is measured once a boot
                found = [event for event in parts.program if event.kind == PROGRAM or not started]
                events += [_placed(event, entry) for event in found]
                started = True
            case Part.REST:
                events += [_placed(event, entry) for event in parts.rest]
    return (*events, *parts.late)


def _placed(event: Event, slot: Slot) -> Event:
    """Return a program's event in the register that this firmware measures programs into."""
    return replace(event, pcr=slot.pcr) if event.kind == PROGRAM else event


def _split(log: Sequence[Event]) -> _Parts:
    """Take an image's events out of a predicted log."""
    table: list[Event] = []
    program: list[Event] = []
    rest: list[Event] = []
    late: list[Event] = []
    left = False
    for event in log:
        started = any(one.kind == PROGRAM for one in program)
        if event.data == EXITED:
            left = True
        elif left:
            late.append(event)
        elif event.kind == "EV_EFI_GPT_EVENT":
            table.append(event)
        elif event.kind in (PROGRAM, AUTHORITY):
            (rest if started else program).append(event)
        elif event.source != "firmware":
            rest.append(event)
    return _Parts(table=tuple(table), program=tuple(program), rest=tuple(rest), late=tuple(late))


def _boot_entries(profile: PlatformProfile, gpt: Gpt | None) -> str:
    """Say why a profile's boot entries do not fit a disk, empty where they do.

    Specification: UEFI 2.10 §3.1.3 (EFI_LOAD_OPTION), §10.3.5.1 (hard drive media device path).
    """
    for event in profile.events:
        if event.kind not in _BOOT_VARIABLES:
            continue
        try:
            name, content = variable(event)
            named = _hard_drive(content) if len(name) == 8 and name.startswith("Boot") else None
        except (FormatError, struct.error):
            return _DAMAGED
        if named is None:
            continue
        number, start, size, signature = named
        if gpt is None or not any(
            (part.number, part.offset, part.size, part.id)
            == (number, start * gpt.sector, size * gpt.sector, uuid.UUID(bytes_le=signature))
            for part in gpt.partitions
        ):
            return _PARTITION
    return ""


def _hard_drive(option: bytes) -> tuple[int, int, int, bytes] | None:
    """Return number, first block, blocks and signature of the partition that a load option names, if any."""
    (length,) = struct.unpack_from("<H", option, 4)
    at = 6
    while option[at : at + 2] != b"\0\0":
        if at >= len(option):
            raise struct.error("description without an end")
        at += 2
    path = option[at + 2 : at + 2 + length]
    at = 0
    while at + 4 <= len(path):
        kind, sub, size = struct.unpack_from("<BBH", path, at)
        if size < 4:
            raise struct.error("device path node without a size")
        if (kind, sub) == (4, 1):
            number, start, blocks, signature = struct.unpack_from("<IQQ16s", path, at + 4)
            return number, start, blocks, signature
        at += size
    return None
