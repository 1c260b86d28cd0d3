"""Predicted logs against the logs of real boots: three stub versions, secure boot absent, off and on."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from podvm_builder.formats.efi_siglist import Signature, parse_signature_lists
from podvm_builder.formats.eventlog import EventLog, parse_event_log
from podvm_builder.formats.gpt import Gpt, measured_data, parse_gpt
from podvm_builder.formats.readers import BytesReader, Extent, ExtentReader
from podvm_builder.measure.boot_log import UKI_SUBJECT, boot_log
from podvm_builder.measure.secure_boot import Keys
from podvm_builder.measure.stub import stub_rules
from podvm_builder.measure.tpm import fold
from podvm_builder.measure.uki_digests import Digests, UkiDigests
from podvm_builder.model.event import Event

BANKS = ("sha1", "sha256", "sha384")
BOOTS = [
    ("252nosb", 252, "absent"),
    ("252sb", 252, "on"),
    ("257nosb", 257, "absent"),
    ("257setup", 257, "off"),
    ("262nosb", 262, "absent"),
    ("262sb", 262, "on"),
]


def _digests(record: dict[str, str]) -> Digests:
    return {bank: bytes.fromhex(record[bank]) for bank in BANKS}


def _gpt(data: bytes) -> Gpt:
    """Put the disk back together from the table that the firmware logged: 92 bytes, a count, the used entries."""
    (count,) = struct.unpack_from("<Q", data, 92)
    entries = data[100 : 100 + 128 * count]
    (sectors,) = struct.unpack_from("<Q", data, 32)
    start = bytes(512) + data[:92] + bytes(420) + entries
    extents = [Extent(0, len(start)), Extent(None, (sectors + 1) * 512 - len(start))]
    return parse_gpt(ExtentReader(BytesReader(start), extents))


def _predict(folder: Path, version: int, secure_boot: str, log: EventLog) -> tuple[Event, ...]:
    meta: dict[str, Any] = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    rules = stub_rules(version)
    assert rules is not None
    sections = meta["uki"]["sections"]
    table = next(event.data for event in log.events if event.name == "EV_EFI_GPT_EVENT")
    gpt = _gpt(table)
    assert measured_data(gpt) == table
    # the initrd's length is a multiple of 4, so that stub 252 hands it on as it is; newer stubs append an archive,
    # whose digest the vectors do not give: it is taken from the log
    initrd = next(event for event in log.events if event.data[8:] == b"Linux initrd\0")
    digests = UkiDigests(
        file=b"",
        uki=_digests(meta["uki"]["authenticode"]),
        kernel=_digests(meta["uki"]["linux_authenticode"]) if rules.loads_kernel_by_firmware else None,
        sections={name: _digests(sections[name]) for name in rules.sections if name in sections},
        initrd=_digests(sections[".initrd"]) if version < 256 else {bank: initrd.digests[bank] for bank in BANKS},
    )
    keys, authorities = _keys(log)
    return boot_log(
        digests,
        BANKS,
        boot="disk",
        secure_boot=secure_boot,
        gpt=gpt,
        cmdline=meta["kernel_cmdline"],
        keys=keys,
        authorities=authorities if secure_boot == "on" else {},
    )


def _keys(log: EventLog) -> tuple[Keys, dict[str, Signature]]:
    """Take the variables from the firmware's log, and of db the one entry, which signed the UKI."""
    found = {}
    for event in log.events:
        if event.name == "EV_EFI_VARIABLE_DRIVER_CONFIG" and event.index == 7:
            units, size = struct.unpack_from("<QQ", event.data, 16)
            name = event.data[32 : 32 + 2 * units].decode("utf-16-le").lower()
            found[name] = event.data[32 + 2 * units :]
            assert len(found[name]) == size
    keys = Keys(**{name: data for name, data in found.items() if name != "secureboot"})
    entries = parse_signature_lists(keys.db)
    return keys, dict(zip([UKI_SUBJECT], entries, strict=False))


@pytest.mark.parametrize(("name", "version", "secure_boot"), BOOTS)
def test_every_event_in_order(own_vectors: Path, name: str, version: int, secure_boot: str) -> None:
    folder = own_vectors / "own-boots" / name
    log = parse_event_log((folder / "eventlog.bin").read_bytes())
    predicted = _predict(folder, version, secure_boot, log)
    seen = [event for event in log.events if event.index in {4, 5, 7, 9, 11}]
    assert [(event.pcr, event.kind) for event in predicted] == [(event.index, event.name) for event in seen]
    for event, real in zip(predicted, seen, strict=True):
        assert event.digests == {bank: real.digests[bank] for bank in BANKS}, event.subject
        assert event.data in (b"", real.data), event.subject


@pytest.mark.parametrize(("name", "version", "secure_boot"), BOOTS)
def test_registers_as_the_guest_read_them(own_vectors: Path, name: str, version: int, secure_boot: str) -> None:
    folder = own_vectors / "own-boots" / name
    log = parse_event_log((folder / "eventlog.bin").read_bytes())
    predicted = _predict(folder, version, secure_boot, log)
    read = json.loads((folder / "pcrs.json").read_text(encoding="utf-8"))
    for bank in BANKS:
        for pcr in (4, 5, 7, 9, 11, 12, 13, 14):
            assert fold(predicted, pcr, bank).hex() == read[bank][str(pcr)].lower(), (bank, pcr)


def test_direct_boot_measures_the_uki_before_the_boot_option() -> None:
    one = {"sha256": b"\1" * 32}
    digests = UkiDigests(file=b"", uki=one, kernel={"sha256": b"\2" * 32}, sections={}, initrd=None)
    log = boot_log(digests, ("sha256",), boot="direct", secure_boot="absent", gpt=None, cmdline="x")
    assert [event.subject for event in log if event.pcr == 4] == [
        "UKI",
        "call of the boot option",
        "separator",
        "kernel in section .linux",
    ]
    assert [event.kind for event in log if event.pcr == 5] == ["EV_SEPARATOR", "EV_EFI_ACTION", "EV_EFI_ACTION"]


@pytest.mark.parametrize(
    ("secure_boot", "value"),
    [
        ("absent", "b5710bf57d25623e4019027da116821fa99f5c81e9e38b87671cc574f9281439"),
        ("off", "65caf8dd1e0ea7a6347b635d2b379c93b9a1351edc2afc3ecda700e534eb3068"),
    ],
)
def test_pcr_7_without_keys_is_that_of_every_ovmf(secure_boot: str, value: str) -> None:
    digests = UkiDigests(file=b"", uki={"sha256": b"\1" * 32}, kernel=None, sections={}, initrd=None)
    log = boot_log(digests, ("sha256",), boot="disk", secure_boot=secure_boot, gpt=None, cmdline=None)
    assert fold(log, 7, "sha256").hex() == value


def test_phases_extend_pcr_11_by_their_bare_words() -> None:
    digests = UkiDigests(file=b"", uki={"sha256": b"\1" * 32}, kernel=None, sections={}, initrd=None)
    log = boot_log(
        digests, ("sha256",), boot="disk", secure_boot="off", gpt=None, cmdline=None, phases=("enter-initrd",)
    )
    assert [event.data for event in log if event.pcr == 11] == [b"enter-initrd"]
