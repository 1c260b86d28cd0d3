"""Logs of real machines replay to the PCRs that those machines had; bad logs are refused or reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from podvm_builder.errors import FormatError
from podvm_builder.formats.eventlog import encode_event_log, parse_event_log
from podvm_builder.formats.eventlog_replay import banks, check, replay

OWN_BOOTS = ("252nosb", "252sb", "257nosb", "257setup", "262nosb", "262sb")


def _expected(vectors: Path, name: str) -> Any:
    return json.loads((vectors / "expected.json").read_text(encoding="utf-8"))["files"][name]


@pytest.mark.parametrize("name", OWN_BOOTS)
def test_own_boots_replay_to_what_the_guest_read(own_vectors: Path, name: str) -> None:
    folder = own_vectors / "own-boots" / name
    log = parse_event_log((folder / "eventlog.bin").read_bytes())
    assert check(log) == ()
    for bank, read in json.loads((folder / "pcrs.json").read_text(encoding="utf-8")).items():
        values = replay(log, bank)
        size = len(read["0"]) // 2
        for number, value in read.items():
            untouched = b"\xff" * size if 17 <= int(number) <= 22 else bytes(size)
            if number != "10":  # IMA extends it without the firmware's log
                assert values.get(int(number), untouched).hex() == value.lower(), (bank, number)


@pytest.mark.parametrize(
    "name", ["rhel8-uefi.bin", "ubuntu-2104-no-secure-boot.bin", "debian-10.bin", "cos-101-amd-sev.bin"]
)
def test_public_tpm_logs(vectors: Path, name: str) -> None:
    log = parse_event_log((vectors / "tpm" / name).read_bytes())
    for bank, pcrs in _expected(vectors, f"tpm/{name}")["pcrs"].items():
        values = replay(log, bank.lower())
        assert {pcr: values[int(pcr)].hex() for pcr in pcrs} == pcrs


@pytest.mark.parametrize("name", ["ccel-cos-113.bin", "ccel-ovmf-direct-kernel.bin", "ccel-ubuntu-shim-grub.bin"])
def test_public_tdx_logs(vectors: Path, name: str) -> None:
    log = parse_event_log((vectors / "tdx" / name).read_bytes())
    values = replay(log, "sha384")
    rtmrs = _expected(vectors, f"tdx/{name}")["rtmrs"]
    assert [values.get(index + 1, bytes(48)).hex() for index in range(len(rtmrs))] == rtmrs


def test_a_log_of_an_image_like_ours_is_read(vectors: Path) -> None:
    log = parse_event_log((vectors / "tpm" / "gcp-uki-dstack.bin").read_bytes())
    assert banks(log) == ("sha1", "sha256", "sha384")
    assert any(event.index == 11 and event.name == "EV_IPL" for event in log.events)


def test_duplicate_separator_is_reported(vectors: Path) -> None:
    data = (vectors / "negative" / "ccel-cos-113-dupe-separator-unpadded.bin").read_bytes()
    log = parse_event_log(data)
    assert replay(log, "sha384")
    assert [(finding.offset, finding.index) for finding in check(log)] == [(0x250C, 1)]


@pytest.mark.parametrize(
    ("name", "message"),
    [("ebs-event-missing.bin", "before the firmware left boot services"), ("short-no-action.bin", "no event")],
)
def test_incomplete_logs_are_reported(vectors: Path, name: str, message: str) -> None:
    findings = check(parse_event_log((vectors / "negative" / name).read_bytes()))
    assert any(message in finding.message for finding in findings)


def test_text_is_refused(vectors: Path) -> None:
    with pytest.raises(FormatError, match="does not exist") as caught:
        parse_event_log((vectors / "negative" / "keylime-bogus.bin").read_bytes())
    assert caught.value.offset == 0
    assert caught.value.code == "PVB244"


@pytest.mark.parametrize("padding", [b"\0" * 40, b"\xff" * 40, b"\0" * 5, b"\xff" * 4])
def test_padding_behind_the_last_event(own_vectors: Path, padding: bytes) -> None:
    data = (own_vectors / "own-boots" / "252nosb" / "eventlog.bin").read_bytes()
    assert parse_event_log(data + padding) == parse_event_log(data)


def test_every_truncation_is_a_shorter_log_or_an_error(own_vectors: Path) -> None:
    data = (own_vectors / "own-boots" / "252nosb" / "eventlog.bin").read_bytes()
    whole = parse_event_log(data)
    starts = [event.offset for event in whole.events]
    for length in range(len(data)):
        last = max((start for start in starts if start <= length), default=0)
        if last and not data[last:length].strip(b"\0"):  # nothing, or zeros that look like padding
            part = parse_event_log(data[:length])
            assert part.events == whole.events[: len(part.events)]
        else:
            with pytest.raises(FormatError):
                parse_event_log(data[:length])


@pytest.mark.parametrize("name", OWN_BOOTS)
def test_what_is_written_is_read_back(own_vectors: Path, name: str) -> None:
    log = parse_event_log((own_vectors / "own-boots" / name / "eventlog.bin").read_bytes())
    assert parse_event_log(encode_event_log(log)) == log


def test_a_changed_event_is_noticed(own_vectors: Path) -> None:
    data = bytearray((own_vectors / "own-boots" / "257nosb" / "eventlog.bin").read_bytes())
    at = data.index(b"Calling EFI Application")
    data[at] ^= 1
    (finding,) = check(parse_event_log(bytes(data)))
    assert "EV_EFI_ACTION" in finding.message
    assert finding.index == 4
