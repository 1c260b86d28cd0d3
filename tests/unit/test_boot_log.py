"""Predicted logs against the logs of real boots: three stub versions, secure boot absent, off and on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from podvm_builder.formats.eventlog import parse_event_log
from podvm_builder.measure.boot_log import boot_log
from podvm_builder.measure.tpm import fold
from podvm_builder.measure.uki_digests import UkiDigests
from tests.support.own_boots import BANKS, BOOTS, predict


@pytest.mark.parametrize(("name", "version", "secure_boot"), BOOTS)
def test_every_event_in_order(own_vectors: Path, name: str, version: int, secure_boot: str) -> None:
    folder = own_vectors / "own-boots" / name
    log = parse_event_log((folder / "eventlog.bin").read_bytes())
    predicted = predict(folder, version, secure_boot, log)
    seen = [event for event in log.events if event.index in {4, 5, 7, 9, 11}]
    assert [(event.pcr, event.kind) for event in predicted] == [(event.index, event.name) for event in seen]
    for event, real in zip(predicted, seen, strict=True):
        assert event.digests == {bank: real.digests[bank] for bank in BANKS}, event.subject
        assert event.data in (b"", real.data), event.subject


@pytest.mark.parametrize(("name", "version", "secure_boot"), BOOTS)
def test_registers_as_the_guest_read_them(own_vectors: Path, name: str, version: int, secure_boot: str) -> None:
    folder = own_vectors / "own-boots" / name
    log = parse_event_log((folder / "eventlog.bin").read_bytes())
    predicted = predict(folder, version, secure_boot, log)
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
