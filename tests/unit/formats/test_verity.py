"""dm-verity: the superblock, and root hashes that veritysetup made."""

from __future__ import annotations

import struct

import pytest

from podvm_builder.errors import FormatError
from podvm_builder.formats.readers import BytesReader
from podvm_builder.formats.verity import parse_verity, root_hash
from tests.support.lint_image import verity_super

DATA = b"".join(struct.pack("<I", number) * 1024 for number in range(200))
"""200 blocks, whose hashes fill more than one block of hashes."""

# `veritysetup format --salt=000102… --uuid=0…0 data hashes` of cryptsetup 2.7, and the same without salt
SALTED = "93a92800d88116de9014393b34358441f5307c462083d25d0bbdb93f3a2e81e3"
PLAIN = "3b322a1a0910f1e253732c8acb726e0c1cd7caa640cbe633017eac0349ca202a"


@pytest.mark.parametrize(("salt", "wanted"), [(bytes(range(32)), SALTED), (b"", PLAIN)])
def test_root_hashes_of_veritysetup(salt: bytes, wanted: str) -> None:
    parameters = parse_verity(BytesReader(verity_super(200, salt=salt)))
    assert (parameters.algorithm, parameters.data_blocks, parameters.salt) == ("sha256", 200, salt)
    assert root_hash(BytesReader(DATA), parameters).hex() == wanted
    changed = DATA[:-1] + b"x"
    assert root_hash(BytesReader(changed), parameters).hex() != wanted


def test_one_block() -> None:
    parameters = parse_verity(BytesReader(verity_super(1)))
    assert len(root_hash(BytesReader(DATA[:4096]), parameters)) == 32


@pytest.mark.parametrize(
    ("offset", "data"),
    [
        (0, b"x"),  # magic
        (8, b"\x02"),  # version
        (12, b"\x02"),  # hash type
        (32, b"md5\0\0\0"),
        (64, b"\x01\x10"),  # data block size
        (72, bytes(8)),  # no data
        (80, b"\xff\xff"),  # salt size
    ],
)
def test_what_is_no_superblock(offset: int, data: bytes) -> None:
    block = bytearray(verity_super(200))
    block[offset : offset + len(data)] = data
    with pytest.raises(FormatError, match="dm-verity"):
        parse_verity(BytesReader(bytes(block)))
    with pytest.raises(FormatError, match="dm-verity"):
        parse_verity(BytesReader(bytes(block[:100])))


def test_less_data_than_there_should_be() -> None:
    with pytest.raises(FormatError, match="200 blocks"):
        root_hash(BytesReader(DATA[:-1]), parse_verity(BytesReader(verity_super(200))))
