"""A platform profile from the log of one boot: which events are the firmware's, and where the image's stand.

Firmware differs in what it measures and in its habits: the order of separators, further attempts at a boot option,
exits of boot services that fail, the register that a program goes to. All of these are in the log of any boot. What the
image brought is left out, and its place kept (:class:`podvm_builder.model.platform.Slot`).

Specification: TCG PC Client Platform Firmware Profile 1.06 §3.3.4 (registers), §10.4 (events); UEFI 2.10 §38.4.1.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from podvm_builder.errors import FormatError
from podvm_builder.formats.digests import digest_bytes
from podvm_builder.formats.event_text import describe
from podvm_builder.formats.eventlog import EV_NO_ACTION, EventLog, LogEvent
from podvm_builder.formats.eventlog_replay import banks, locality
from podvm_builder.measure.boot_log import DIRECT, DISK, EXITED, EXITING
from podvm_builder.measure.log_diff import CCEL, TPM
from podvm_builder.measure.rtmr import register_of
from podvm_builder.model.event import Event
from podvm_builder.model.platform import Part, PlatformProfile, Slot

CODE = "PVB263"
MAX_DATA = 1 << 20
"""Bytes of event data that a profile keeps."""

PROGRAM = "EV_EFI_BOOT_SERVICES_APPLICATION"
AUTHORITY = "EV_EFI_VARIABLE_AUTHORITY"
CONFIG = "EV_EFI_VARIABLE_DRIVER_CONFIG"
_TABLE = "EV_EFI_GPT_EVENT"
_OTHER_TABLE = "EV_EFI_GPT_EVENT2"
_ACTION = "EV_EFI_ACTION"
_SEPARATOR = "EV_SEPARATOR"
_CALLING = b"Calling EFI Application from Boot Option"
_RETURNING = b"Returning from EFI Application from Boot Option"
_FAILED = b"Exit Boot Services Returned with Failure"
_DRIVERS = ("EV_EFI_BOOT_SERVICES_DRIVER", "EV_EFI_RUNTIME_SERVICES_DRIVER")
_OF_PROGRAMS = ("EV_IPL", "EV_EVENT_TAG", "EV_COMPACT_HASH")
"""Event types of boot loaders and kernels."""

_FIRST_OF_IMAGE = 8
"""PCR from which on nothing is the firmware's."""
_DIGESTED = (_SEPARATOR, _ACTION, CONFIG, AUTHORITY, "EV_S_CRTM_VERSION")
"""Event types whose digest is over their data."""

_STATES = {b"": "absent", b"\0": "off", b"\1": "on"}
_VENDOR = "events of the platform's maker, on some clouds the machine's identity: one log cannot tell"
_NO_PROGRAM = "the log shows no program of an image"
_RETURNED = "the log shows a program that returned to the firmware, which then started another one"
_BETWEEN = "in the log, events of the firmware stand among those of the image"
_NO_EXIT = "the log ends before the firmware left boot services"
_LATE_DRIVER = "the log shows drivers that a program loaded"
_TABLE_TWO = "the log shows the partition table as EV_EFI_GPT_EVENT2, whose form is not settled here"


def learn(log: EventLog, kind: str, *, facts: Mapping[str, str]) -> PlatformProfile:
    """Return what a log tells of the machine that wrote it.

    Args:
        log: of a boot that came as far as a kernel.
        kind: ``tpm`` or ``ccel``.
        facts: what is known besides, for :attr:`PlatformProfile.facts`.

    Raises:
        FormatError: PVB263, a digest that is not that of its data, no state of secure boot, or no event at all that a
            firmware would measure.
    """
    events = list(_events(log, kind))
    programs = [number for number, event in enumerate(events) if event.kind == PROGRAM]
    split = _Split(events, programs, kind)
    profile = PlatformProfile(
        kind=kind,
        banks=banks(log),
        boot=_boot_path(events, programs),
        secure_boot=_state(events),
        entries=tuple(split.entries),
        locality=locality(log) if kind == TPM else 0,
        gaps=split.gaps,
        facts=facts,
        habits=_habits(events),
    )
    for event in profile.events:
        if event.kind in _DIGESTED and event.data and digest_bytes(event.data, profile.banks) != event.digests:
            raise FormatError(f"event log: the digest of {event.subject} is not that of its data", code=CODE)
    _check_separators([event.pcr for event in profile.events if event.kind == _SEPARATOR], kind)
    if not any(event.kind == _SEPARATOR for event in profile.events):
        raise FormatError("event log: no separator, so that where the firmware ends is not seen", code=CODE)
    return profile


def _check_separators(pcrs: Sequence[int], kind: str) -> None:
    """Refuse a log in which more registers were separated than firmware separates: it may have been put together.

    A TPM has one separator in a register; a trust domain one behind the variables, and one at ReadyToBoot.
    """
    doubled = len(pcrs) > 2 or pcrs.count(4) > 1 if kind == CCEL else len(set(pcrs)) < len(pcrs)
    if doubled:
        raise FormatError("event log: a second separator where firmware has one", code=CODE)


def variable(event: Event) -> tuple[str, bytes]:
    """Return name and content of a variable that was measured; UEFI_VARIABLE_DATA.

    Raises:
        FormatError: PVB263, its data is shorter than it says.
    """
    if len(event.data) >= 32:
        units, size = struct.unpack_from("<QQ", event.data, 16)
        if units <= 1 << 10 and 32 + 2 * units + size == len(event.data):
            name = event.data[32 : 32 + 2 * units].decode("utf-16-le", "replace")
            return name, event.data[32 + 2 * units :]
    raise FormatError(f"event log: {event.subject or event.kind}: damaged variable data", code=CODE)


def _events(log: EventLog, kind: str) -> Iterator[Event]:
    """Yield the events that extend a register, named by PCRs."""
    for event in log.events:
        if event.kind == EV_NO_ACTION:
            continue
        yield Event(
            pcr=event.index if kind == TPM else _pcr(event),
            kind=event.name,
            digests={bank: event.digests[bank] for bank in banks(log)},
            subject=describe(event) or event.name,
            source="firmware",
            data=event.data,
        )


def _pcr(event: LogEvent) -> int:
    """Return a PCR that is mapped to a trust domain's register; keys and what verified an image go to 7."""
    if event.index == 1:
        return 7 if event.name in (CONFIG, AUTHORITY) else 1
    # MRTD is the launch's, and no event extends it
    return {0: 0, 2: 4, 3: 9}.get(event.index, 16)


class _Split:
    """A log split into the firmware's events and the image's places."""

    def __init__(self, events: Sequence[Event], programs: Sequence[int], kind: str) -> None:
        self.gaps: dict[int, str] = {}
        self.entries: list[Event | Slot] = []
        self._kind = kind
        self._programs = programs
        self._starts = _starts(events, programs)
        self._last = self._starts[-1] if self._starts else -1
        self._exit = next((number for number, event in enumerate(events) if event.data == EXITING), len(events))
        self._program = events[programs[0]].pcr if programs else 4
        self._separated = False
        self._rest = False
        # registers with events of the firmware since the image's rest began
        self._since: set[int | None] = set()
        for number, event in enumerate(events):
            self._take(number, event)
        self._begin_rest()
        if not programs:
            self._leave_out(4, _NO_PROGRAM)
        if not any(event.data == EXITED for event in events):
            self._leave_out(5, _NO_EXIT)

    def _take(self, number: int, event: Event) -> None:
        if number in self._starts:
            self.entries.append(Slot(part=Part.PROGRAM, pcr=self._program))
        elif event.kind == _TABLE:
            self.entries.append(Slot(part=Part.TABLE, pcr=event.pcr))
        elif self._of_image(number, event):
            self._image(number, event)
        else:
            self._firmware(number, event)
        # of the two separators that a trust domain's register 0 may have, the first ends the variables
        self._separated |= event.kind == _SEPARATOR and event.pcr == (7 if self._kind == TPM else 1)

    def _of_image(self, number: int, event: Event) -> bool:
        """Say whether an event is the image's: by its register, its type, or its place behind the separator."""
        if number in self._programs or event.pcr >= _FIRST_OF_IMAGE:
            return True
        if event.kind == AUTHORITY and event.pcr == 7:
            return self._separated
        return event.kind in _OF_PROGRAMS and number > self._last >= 0

    def _image(self, number: int, event: Event) -> None:
        if self._last < number < self._exit:
            self._begin_rest()
            if _register(event.pcr, self._kind) in self._since:
                self._leave_out(event.pcr, _BETWEEN)
        elif event.kind == PROGRAM:
            self._leave_out(self._program, _RETURNED)

    def _firmware(self, number: int, event: Event) -> None:
        if number >= self._exit:
            self._begin_rest()
        elif self._rest:
            self._since.add(_register(event.pcr, self._kind))
        started = number > self._last >= 0
        if event.kind == _OTHER_TABLE:
            self._leave_out(event.pcr, _TABLE_TWO)
        elif event.pcr == 6 and event.kind != _SEPARATOR:
            self._leave_out(6, _VENDOR)
        elif event.kind in _DRIVERS and started:
            self._leave_out(event.pcr, _LATE_DRIVER)
        elif event.data == _RETURNING and started:
            self._leave_out(event.pcr, _RETURNED)
            self._leave_out(self._program, _RETURNED)
        self.entries.append(event if len(event.data) <= MAX_DATA else replace(event, data=b""))

    def _begin_rest(self) -> None:
        if not self._rest:
            self._rest = True
            self.entries.append(Slot(part=Part.REST, pcr=self._program))

    def _leave_out(self, pcr: int, reason: str) -> None:
        """Give a register up; that of a trust domain by all PCRs that are mapped to it."""
        wanted = _register(pcr, self._kind)
        self.gaps |= {one: reason for one in range(_FIRST_OF_IMAGE) if _register(one, self._kind) == wanted}


def _register(pcr: int, kind: str) -> int | None:
    return pcr if kind == TPM else register_of(pcr)


def _starts(events: Sequence[Event], programs: Sequence[int]) -> list[int]:
    """Return where the firmware starts the image's first program: once more after another action of its own."""
    found = list(programs[:1])
    for number in programs[1:]:
        since = events[found[-1] : number]
        if events[number].digests == events[found[0]].digests and any(event.kind == _ACTION for event in since):
            found.append(number)
    return found


def _boot_path(events: Sequence[Event], programs: Sequence[int]) -> str:
    """Say how the machine booted: what QEMU hands over is loaded before a boot option is called."""
    called = next((number for number, event in enumerate(events) if event.data == _CALLING), None)
    return DIRECT if programs and called is not None and programs[0] < called else DISK


def _state(events: Sequence[Event]) -> str:
    for event in events:
        if event.kind == CONFIG and event.pcr == 7:
            name, content = variable(event)
            if name == "SecureBoot" and content in _STATES:
                return _STATES[content]
    raise FormatError("event log: no variable SecureBoot, so that the state of secure boot is not known", code=CODE)


def _habits(events: Sequence[Event]) -> dict[str, int]:
    """Count what stands out."""
    actions = [event.data for event in events if event.kind == _ACTION]
    counted = {"boot_options": actions.count(_CALLING), "failed_exits": actions.count(_FAILED)}
    return {name: number for name, number in counted.items() if number}
