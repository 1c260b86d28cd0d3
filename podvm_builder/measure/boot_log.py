"""The one ordered log of a boot: what firmware, systemd-stub and the kernel extend, event by event.

The order is that of OVMF's logs of the same boots (tests compare with them). Specification: TCG PC Client Platform
Firmware Profile 1.06 §3.3.4 and §10; UEFI 2.10. PCRs 0-3 and 6 are the platform's and not part of the log.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from podvm_builder.formats.digests import digest_bytes
from podvm_builder.formats.efi_siglist import Signature
from podvm_builder.formats.gpt import Gpt, measured_data
from podvm_builder.formats.varstore import GLOBAL, SECURITY
from podvm_builder.measure.secure_boot import Keys
from podvm_builder.measure.sidecars import Sidecars
from podvm_builder.measure.uki_digests import NO_SIDECARS, Digests, UkiDigests
from podvm_builder.model.event import Event

DISK = "disk"
DIRECT = "direct"

PHASES = ("enter-initrd", "leave-initrd", "sysinit", "ready")
"""Words that systemd's boot phase units extend PCR 11 with until the system is up."""

UKI_SUBJECT = "UKI"
LOADER = "systemd-boot"
NO_AUTHORITIES: Mapping[str, Signature] = {}

_SEPARATOR = bytes(4)
_CALLING = b"Calling EFI Application from Boot Option"
EXITING = b"Exit Boot Services Invocation"
EXITED = b"Exit Boot Services Returned with Success"
_LOAD_OPTIONS = (0x8F3B22ED, b"LOADED_IMAGE::LoadOptions\0")
_LOADER_CONF = (0xF5BC582A, "loader.conf\0".encode("utf-16-le"))
_INITRD = (0x8F3B22EC, b"Linux initrd\0")


def boot_log(
    digests: UkiDigests,
    algorithms: Sequence[str],
    *,
    boot: str,
    secure_boot: str,
    gpt: Gpt | None,
    cmdline: str | None,
    phases: Sequence[str] = (),
    keys: Keys | None = None,
    authorities: Mapping[str, Signature] = NO_AUTHORITIES,
    loader_conf: bytes | None = None,
    sidecars: Sidecars = NO_SIDECARS,
    separated: Sequence[int] = (),
) -> tuple[Event, ...]:
    """Return the events of PCRs 4, 5, 7, 9 and 11 to 13 in the order of a boot.

    Args:
        digests: of the UKI.
        algorithms: banks to give digests for.
        boot: one of :data:`podvm_builder.model.plan.BOOT_PATHS`.
        secure_boot: one of :data:`podvm_builder.model.plan.SECURE_BOOT`; with ``on`` and no keys the events of PCR
            7 are left out.
        gpt: the disk's partition table; without one the log of a boot from disk has no GPT event.
        cmdline: what the kernel gets, None where that is not known; then its event is left out.
        phases: words of systemd's boot phase units, in order, as far as the boot has come.
        keys: the secure-boot variables; firmware without any where they are not given.
        authorities: with secure boot on, the entry of db that lets each program pass: :data:`LOADER`,
            :data:`UKI_SUBJECT`, and addons by their paths. Each is measured once a boot.
        loader_conf: systemd-boot's configuration, where it measures it.
        sidecars: what the stub adds from the EFI system partition.
        separated: PCRs that the initrd extends with `os-separator`.
    """
    firmware = partial(_event, algorithms, source="firmware")
    separators = [firmware(pcr, "EV_SEPARATOR", _SEPARATOR, "separator") for pcr in (4, 5)]
    calling = firmware(4, "EV_EFI_ACTION", _CALLING, "call of the boot option")
    table = [firmware(5, "EV_EFI_GPT_EVENT", measured_data(gpt), "partition table")] if gpt is not None else []
    vouched = _Authorities(algorithms, authorities)
    uki = _application(digests.uki, UKI_SUBJECT, "firmware")
    events = list(_variables(algorithms, secure_boot, keys))
    if boot == DIRECT:
        events += [*vouched.event(UKI_SUBJECT), uki, calling, *separators]
    elif digests.loader is None:
        events += [calling, *separators, *vouched.event(UKI_SUBJECT), *table, uki]
    else:
        loader = _application(digests.loader, "systemd-boot", "firmware")
        events += [calling, *separators, *vouched.event(LOADER), *table, loader]
        if loader_conf is not None:
            events.append(_tagged(_LOADER_CONF, digest_bytes(loader_conf, algorithms), "loader.conf", 5))
        events += [*vouched.event(UKI_SUBJECT), uki]
    events += _sections(digests, algorithms)
    for path, digest in digests.addons.items():
        events += [*vouched.event(path), _application(digest, f"addon {path}", "firmware, for systemd-stub")]
    events += sidecars.events
    if digests.kernel is not None and secure_boot != "on":
        events.append(_application(digests.kernel, "kernel in section .linux", "firmware, for systemd-stub"))
    if cmdline is not None:
        options = digest_bytes(cmdline.encode("utf-16-le") + bytes(2), algorithms)
        events.append(_tagged(_LOAD_OPTIONS, options, "command line"))
    if digests.initrd is not None:
        events.append(_tagged(_INITRD, digests.initrd, "initrd"))
    events.append(firmware(5, "EV_EFI_ACTION", EXITING, "exit of boot services"))
    events.append(firmware(5, "EV_EFI_ACTION", EXITED, "exit of boot services done"))
    events += [
        _event(algorithms, pcr, "os-separator", b"os-separator", "separator of the OS", source="systemd-pcrextend")
        for pcr in separated
    ]
    events += [
        _event(algorithms, 11, "phase", word.encode(), f"phase {word}", source="systemd-pcrphase") for word in phases
    ]
    return tuple(events)


def variable_data(vendor: uuid.UUID, name: str, data: bytes) -> bytes:
    """Return UEFI_VARIABLE_DATA: vendor GUID, u64 UTF-16 units of the name, u64 bytes of data, name, data."""
    text = name.encode("utf-16-le")
    return vendor.bytes_le + struct.pack("<QQ", len(text) // 2, len(data)) + text + data


def _variables(algorithms: Sequence[str], secure_boot: str, keys: Keys | None) -> Iterator[Event]:
    """Yield PCR 7 up to its separator: a variable that is not there is measured with no data."""
    if secure_boot == "on" and keys is None:
        return
    held = keys or Keys()
    # firmware with secure boot compiled in has the variable, and it says whether it is enforced
    state = {"absent": b"", "off": b"\0", "on": b"\1"}[secure_boot]
    rows = [(GLOBAL, "SecureBoot", state), (GLOBAL, "PK", held.pk), (GLOBAL, "KEK", held.kek)]
    rows += [(SECURITY, "db", held.db), (SECURITY, "dbx", held.dbx)]
    rows += [(SECURITY, name, data) for name, data in (("dbt", held.dbt), ("dbr", held.dbr)) if data]
    for vendor, name, value in rows:
        data = variable_data(vendor, name, value)
        yield _event(algorithms, 7, "EV_EFI_VARIABLE_DRIVER_CONFIG", data, f"variable {name}", source="firmware")
    yield _event(algorithms, 7, "EV_SEPARATOR", _SEPARATOR, "separator", source="firmware")


class _Authorities:
    """Which entry of db let a program pass, said once for each entry in a boot."""

    def __init__(self, algorithms: Sequence[str], entries: Mapping[str, Signature]) -> None:
        self._algorithms = algorithms
        self._entries = entries
        self._said: set[bytes] = set()

    def event(self, program: str) -> list[Event]:
        """Return the event that comes before a program's own, if there is one."""
        entry = self._entries.get(program)
        if entry is None or entry.raw in self._said:
            return []
        self._said.add(entry.raw)
        data = variable_data(SECURITY, "db", entry.raw)
        return [
            _event(
                self._algorithms, 7, "EV_EFI_VARIABLE_AUTHORITY", data, f"entry of db for {program}", source="firmware"
            )
        ]


def _sections(digests: UkiDigests, algorithms: Sequence[str]) -> Iterator[Event]:
    """Yield two events per section: its name with a NUL, then its content."""
    for name, content in digests.sections.items():
        data = (name + "\0").encode("utf-16-le")
        named = digest_bytes(name.encode() + b"\0", algorithms)
        for measured, subject in ((named, f"name of section {name}"), (content, f"section {name}")):
            yield Event(pcr=11, kind="EV_IPL", digests=measured, subject=subject, source="systemd-stub", data=data)


def _event(algorithms: Sequence[str], pcr: int, kind: str, data: bytes, subject: str, *, source: str) -> Event:
    """Return an event whose digest is that of its data."""
    return Event(pcr=pcr, kind=kind, digests=digest_bytes(data, algorithms), subject=subject, source=source, data=data)


def _application(digests: Digests, subject: str, source: str) -> Event:
    return Event(pcr=4, kind="EV_EFI_BOOT_SERVICES_APPLICATION", digests=digests, subject=subject, source=source)


def _tagged(tag: tuple[int, bytes], digests: Digests, subject: str, pcr: int = 9) -> Event:
    data = struct.pack("<II", tag[0], len(tag[1])) + tag[1]
    source = "Linux EFI stub" if pcr == 9 else "systemd-boot"
    return Event(pcr=pcr, kind="EV_EVENT_TAG", digests=digests, subject=subject, source=source, data=data)
