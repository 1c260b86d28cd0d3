"""TPM 2.0 commands on the wire, against hand-made messages (TCG TPM 2.0 Library, Part 3)."""

from __future__ import annotations

import contextlib
import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podvm_builder.boot import tpm
from podvm_builder.boot.tpm import PcrChange, TpmCommand
from podvm_builder.errors import FormatError
from tests.support.tpm_commands import extend_command, startup_command

OK = bytes.fromhex("8002 0000000a 00000000".replace(" ", ""))


def response(body: bytes, *, code: int = 0, tag: int = 0x8001) -> bytes:
    return struct.pack(">HII", tag, 10 + len(body), code) + body


def test_pcr_read_asks_for_one_bank_with_pcr_0_as_the_lowest_bit() -> None:
    command = tpm.pcr_read_command(0x000B, [0, 9, 23])
    assert command.hex() == "8001 00000014 0000017e 00000001 000b 03 010280".replace(" ", "")


def test_read_pcrs_asks_again_for_what_the_tpm_left_out() -> None:
    asked = []

    def exchange(command: bytes) -> bytes:
        selection = int.from_bytes(command[-3:], "little")
        asked.append(selection)
        pcrs = [pcr for pcr in range(24) if selection >> pcr & 1][:8]  # no TPM gives more in one response
        bits = sum(1 << pcr for pcr in pcrs).to_bytes(3, "little")
        digests = b"".join(struct.pack(">H", 20) + bytes([pcr]) * 20 for pcr in pcrs)
        return response(struct.pack(">IIHB", 7, 1, 4, 3) + bits + struct.pack(">I", len(pcrs)) + digests)

    assert tpm.read_pcrs(exchange, ["sha1"]) == {"sha1": {pcr: bytes([pcr]) * 20 for pcr in range(24)}}
    assert asked == [0xFFFFFF, 0xFFFF00, 0xFF0000]


def test_read_pcrs_leaves_out_a_bank_that_is_not_allocated() -> None:
    empty = response(struct.pack(">IIHB3sI", 7, 1, 0x000C, 3, bytes(3), 0))
    assert tpm.read_pcrs(lambda _: empty, ["sha384"]) == {}


def test_read_pcrs_before_startup_is_none() -> None:
    assert tpm.read_pcrs(lambda _: response(b"", code=0x100), ["sha256"]) is None


def test_read_pcrs_of_a_tpm_that_refuses() -> None:
    with pytest.raises(FormatError, match=r"sha256 failed with 0x101"):
        tpm.read_pcrs(lambda _: response(b"", code=0x101), ["sha256"])


def test_extend_is_decoded_with_its_digests() -> None:
    digests = {"sha1": b"\x11" * 20, "sha256": b"\x22" * 32, "sha384": b"\x33" * 48}
    change = tpm.pcr_change(extend_command(11, digests), OK)
    assert change == PcrChange(command=TpmCommand.EXTEND, pcr=11, digests=digests)


def test_a_refused_extend_changes_nothing() -> None:
    refused = response(b"", code=0x98E)
    assert tpm.pcr_change(extend_command(11, {"sha1": bytes(20)}), refused) is None


@pytest.mark.parametrize("code", [0x13C, 0x185])
def test_what_the_tpm_hashes_itself_is_read_from_its_response(code: int) -> None:
    command = struct.pack(">HIII", 0x8002, 14, code, 9)
    values = struct.pack(">IH", 1, 0x000B) + b"\x44" * 32
    answer = response(struct.pack(">I", len(values)) + values, tag=0x8002)
    change = tpm.pcr_change(command, answer)
    assert change is not None
    assert (change.pcr, change.digests) == (9, {"sha256": b"\x44" * 32})


def test_an_event_for_no_register_changes_nothing() -> None:
    command = struct.pack(">HIII", 0x8002, 14, 0x185, 0x40000007)
    assert tpm.pcr_change(command, OK) is None


def test_other_commands_change_nothing() -> None:
    assert tpm.pcr_change(startup_command(), OK) is None
    assert tpm.pcr_change(tpm.pcr_read_command(4, [0]), OK) is None


def test_an_unknown_algorithm_is_refused() -> None:
    command = struct.pack(">HIIIIIH", 0x8002, 64, 0x182, 4, 0, 1, 0x0027) + bytes(32)
    with pytest.raises(FormatError, match="unknown algorithm 0x0027"):
        tpm.pcr_change(command, OK)


@given(st.binary(max_size=80))
def test_any_bytes_give_a_change_or_a_format_error(data: bytes) -> None:
    with contextlib.suppress(FormatError):
        tpm.pcr_change(struct.pack(">HII", 0x8002, 10 + len(data), 0x182) + data, OK)
    with contextlib.suppress(FormatError):
        tpm.parse_pcr_read(response(data))


@pytest.mark.parametrize("size", [0, 9, (1 << 16) + 1, 0xFFFFFFFF])
def test_a_message_of_an_impossible_size_is_refused(size: int) -> None:
    with pytest.raises(FormatError, match=f"{size} bytes"):
        tpm.message_size(struct.pack(">HII", 0x8001, size, 0))


def test_fold_is_the_hash_chain_from_the_tpms_start() -> None:
    one, two = hashlib.sha256(b"1").digest(), hashlib.sha256(b"2").digest()
    changes = [
        PcrChange(command=TpmCommand.EXTEND, pcr=4, digests={"sha256": one}),
        PcrChange(command=TpmCommand.EXTEND, pcr=5, digests={"sha256": two}),
        PcrChange(command=TpmCommand.EXTEND, pcr=4, digests={"sha256": two}),
    ]
    expected = hashlib.sha256(hashlib.sha256(bytes(32) + one).digest() + two).digest()
    assert tpm.fold(changes, 4, "sha256") == expected
    assert tpm.fold(changes, 4, "sha1") == bytes(20)
    assert tpm.fold([], 17, "sha1") == b"\xff" * 20


def test_fold_knows_a_reset() -> None:
    changes = [
        PcrChange(command=TpmCommand.EXTEND, pcr=16, digests={"sha1": b"\x01" * 20}),
        PcrChange(command=TpmCommand.RESET, pcr=16, digests={}),
    ]
    assert tpm.fold(changes, 16, "sha1") == bytes(20)
