"""IGVM files and ID blocks: codecs round-trip, and any bytes give a value or a FormatError."""

from __future__ import annotations

import struct
import zlib
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from podvm_builder.errors import FormatError, InputError
from podvm_builder.formats.id_block import (
    AUTH_SIZE,
    BLOCK_SIZE,
    IdAuth,
    IdBlock,
    PublicKey,
    Signature,
    decode_id_auth,
    decode_id_block,
    encode_id_auth,
    encode_id_block,
)
from podvm_builder.formats.igvm import read_igvm
from podvm_builder.measure.igvm import igvm_launch_digest
from tests.support.igvm import example

FILE = example().build()
HEADERS = struct.unpack_from("<I", FILE, 12)[0] + 24
NUMBER = st.integers(0, (1 << 576) - 1)
SIGNATURES = st.builds(Signature, r=NUMBER, s=NUMBER)
KEYS = st.builds(PublicKey, x=NUMBER, y=NUMBER)
BLOCKS = st.builds(
    IdBlock,
    launch_digest=st.binary(min_size=48, max_size=48),
    family_id=st.binary(min_size=16, max_size=16),
    image_id=st.binary(min_size=16, max_size=16),
    guest_svn=st.integers(0, (1 << 32) - 1),
    policy=st.integers(0, (1 << 64) - 1).map(lambda bits: bits | 1 << 17),
)
AUTHS = st.builds(IdAuth, block_signature=SIGNATURES, id_key=KEYS) | st.builds(
    IdAuth, block_signature=SIGNATURES, id_key=KEYS, id_key_signature=SIGNATURES, author_key=KEYS
)


def sealed(data: bytes) -> bytes:
    """Return a file whose checksum is right, so that what is behind it is read."""
    checksum = zlib.crc32(data[:20] + bytes(4) + data[24:HEADERS])
    return data[:20] + struct.pack("<I", checksum) + data[24:]


@given(st.binary(max_size=200))
def test_any_bytes_as_igvm(data: bytes) -> None:
    with suppress(FormatError):
        read_igvm(data)
    with suppress(FormatError):
        read_igvm(b"IGVM" + data)


@given(st.lists(st.tuples(st.integers(24, HEADERS - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_damaged_headers(changes: list[tuple[int, int]]) -> None:
    data = bytearray(FILE)
    for at, value in changes:
        data[at] = value
    with suppress(FormatError):
        assert len(igvm_launch_digest(sealed(bytes(data)))) == 48


@given(st.integers(0, len(FILE) - 1))
def test_files_that_are_cut_short(size: int) -> None:
    try:
        read_igvm(FILE[:size])
    except FormatError as error:
        assert error.code == "PVB236"
    else:
        raise AssertionError("a file that is cut short was read")


@given(BLOCKS)
def test_id_blocks_round_trip(block: IdBlock) -> None:
    assert decode_id_block(encode_id_block(block)) == block


@given(AUTHS)
def test_authentications_round_trip(auth: IdAuth) -> None:
    assert decode_id_auth(encode_id_auth(auth)) == auth


@given(st.binary(min_size=BLOCK_SIZE, max_size=BLOCK_SIZE))
def test_any_bytes_as_a_block(data: bytes) -> None:
    with suppress(FormatError, InputError):
        assert encode_id_block(decode_id_block(data)) == data


@given(AUTHS, st.lists(st.tuples(st.integers(0, AUTH_SIZE - 1), st.integers(0, 255)), max_size=4))
def test_damaged_authentications(auth: IdAuth, changes: list[tuple[int, int]]) -> None:
    data = bytearray(encode_id_auth(auth))
    for at, value in changes:
        data[at] = value
    with suppress(FormatError):
        assert encode_id_auth(decode_id_auth(bytes(data))) == data
