"""SNP ID blocks: their bytes, their signatures, and what is refused."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from podvm_builder.errors import FormatError, InputError, Lacking
from podvm_builder.formats.id_block import (
    AUTH_SIZE,
    IdAuth,
    IdBlock,
    PublicKey,
    Signature,
    decode_id_auth,
    decode_id_block,
    encode_id_auth,
    encode_id_block,
    encode_public_key,
    key_digest,
)
from podvm_builder.measure.id_block import _sign, read_private_key, sign_id_block, verify_id_block

RFC_6979 = 0x6B9D3DAD2E1B8C1C05B19875B6659F4DE23C3B667BF297BA9AA47740787137D896D5724E4C70A825F872C9EA60D2EDF5
"""The P-384 private key of RFC 6979, A.2.6."""
ID_KEY = ec.derive_private_key(RFC_6979, ec.SECP384R1())
AUTHOR_KEY = ec.derive_private_key(0x1234567890ABCDEF, ec.SECP384R1())
BLOCK = IdBlock(launch_digest=bytes(range(48)), family_id=b"f" * 16, image_id=b"i" * 16, guest_svn=7)


def pem(key: Any, encoding: Encoding = Encoding.PEM, password: bytes | None = None) -> bytes:
    protection = BestAvailableEncryption(password) if password else NoEncryption()
    return bytes(key.private_bytes(encoding, PrivateFormat.PKCS8, protection))


def test_the_layout_of_a_block() -> None:
    data = encode_id_block(BLOCK)
    assert data == (
        bytes(range(48)) + b"f" * 16 + b"i" * 16 + b"\1\0\0\0" + b"\7\0\0\0" + (0x30000).to_bytes(8, "little")
    )
    assert decode_id_block(data) == BLOCK


def test_the_layout_of_the_authentication() -> None:
    keys = PublicKey(x=1, y=2), PublicKey(x=3, y=4)
    auth = IdAuth(
        block_signature=Signature(r=5, s=6),
        id_key=keys[0],
        id_key_signature=Signature(r=7, s=8),
        author_key=keys[1],
    )
    data = encode_id_auth(auth)
    assert len(data) == AUTH_SIZE
    set_bytes = {at: byte for at, byte in enumerate(data) if byte}
    assert set_bytes == {
        0x000: 1,
        0x004: 1,
        0x040: 5,
        0x040 + 72: 6,
        0x240: 2,
        0x244: 1,
        0x244 + 72: 2,
        0x680: 7,
        0x680 + 72: 8,
        0x880: 2,
        0x884: 3,
        0x884 + 72: 4,
    }
    assert decode_id_auth(data) == auth


def test_signatures_are_those_of_rfc_6979() -> None:
    """A.2.6: P-384, SHA-384, message ``sample``."""
    assert _sign(ID_KEY, b"sample", deterministic=True) == Signature(
        r=0x94EDBB92A5ECB8AAD4736E56C691916B3F88140666CE9FA73D64C4EA95AD133C81A648152E44ACF96E36DD1E80FABE46,
        s=0x99EF4AEB15F178CEA1FE40DB2603138F130E740A19624526203B6351D0A3A94FA329C145786E679E7B82C71A38628AC8,
    )


def test_the_same_inputs_give_the_same_bytes() -> None:
    first, second = (encode_id_auth(sign_id_block(BLOCK, id_key=ID_KEY, author_key=AUTHOR_KEY)) for _ in range(2))
    assert first == second


def test_random_signatures_differ_and_verify() -> None:
    first, second = (sign_id_block(BLOCK, id_key=ID_KEY, deterministic=False) for _ in range(2))
    assert first != second
    assert verify_id_block(BLOCK, first)
    assert verify_id_block(BLOCK, second)


def test_an_author_is_optional() -> None:
    auth = sign_id_block(BLOCK, id_key=ID_KEY)
    data = encode_id_auth(auth)
    assert data[4:8] == bytes(4)
    assert not any(data[0x680:])
    assert decode_id_auth(data) == auth
    assert verify_id_block(BLOCK, auth)


def test_what_does_not_verify() -> None:
    auth = sign_id_block(BLOCK, id_key=ID_KEY, author_key=AUTHOR_KEY)
    other = IdBlock(launch_digest=bytes(48))
    assert verify_id_block(BLOCK, auth)
    assert not verify_id_block(other, auth)
    swapped = IdAuth(
        block_signature=auth.block_signature,
        id_key=auth.id_key,
        id_key_signature=auth.block_signature,
        author_key=auth.author_key,
    )
    assert not verify_id_block(BLOCK, swapped)
    no_point = IdAuth(block_signature=auth.block_signature, id_key=PublicKey(x=1, y=1))
    assert not verify_id_block(BLOCK, no_point)


def test_the_digest_of_a_key() -> None:
    numbers = ID_KEY.public_key().public_numbers()
    key = PublicKey(x=numbers.x, y=numbers.y)
    assert len(encode_public_key(key)) == 1028
    assert key_digest(key) == hashlib.sha384(encode_public_key(key)).digest()


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_keys_are_read(encoding: Encoding) -> None:
    key = read_private_key(pem(ID_KEY, encoding), name="the key")
    assert key.private_numbers() == ID_KEY.private_numbers()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(b"", "no private key", id="empty"),
        pytest.param(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no private key", id="rubbish"),
        pytest.param(pem(ID_KEY, password=b"secret"), "encrypted", id="encrypted"),
        pytest.param(pem(ec.generate_private_key(ec.SECP256R1())), "P-384", id="p256"),
        pytest.param(pem(rsa.generate_private_key(65537, 2048)), "P-384", id="rsa"),
    ],
)
def test_keys_that_are_refused(data: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read_private_key(data, name="the key")
    assert caught.value.code == "PVB239"


def test_an_old_openssl_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Old(ec.ECDSA):
        def __init__(self, algorithm: Any, deterministic_signing: bool = False) -> None:
            if deterministic_signing:
                raise UnsupportedAlgorithm("ECDSA with deterministic signature (RFC 6979) is not supported")
            super().__init__(algorithm)

    monkeypatch.setattr(ec, "ECDSA", Old)
    with pytest.raises(Lacking, match=r"uses OpenSSL \d.*OpenSSL 3\.2") as caught:
        sign_id_block(BLOCK, id_key=ID_KEY)
    assert caught.value.code == "PVB304"
    assert verify_id_block(BLOCK, sign_id_block(BLOCK, id_key=ID_KEY, deterministic=False))


@pytest.mark.parametrize(
    "fields",
    [
        {"launch_digest": bytes(32)},
        {"launch_digest": bytes(48), "family_id": b"short"},
        {"launch_digest": bytes(48), "image_id": bytes(17)},
        {"launch_digest": bytes(48), "guest_svn": 1 << 32},
        {"launch_digest": bytes(48), "guest_svn": -1},
        {"launch_digest": bytes(48), "policy": 0},
        {"launch_digest": bytes(48), "policy": 1 << 64 | 1 << 17},
    ],
)
def test_blocks_that_cannot_be(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        IdBlock(**fields)
    assert caught.value.code == "PVB239"


def test_bytes_that_are_no_block() -> None:
    data = encode_id_block(BLOCK)
    for wrong in (b"", data[:-1], data + b"\0", data[:0x50] + b"\2" + data[0x51:]):
        with pytest.raises(FormatError):
            decode_id_block(wrong)


def test_bytes_that_are_no_authentication() -> None:
    data = encode_id_auth(sign_id_block(BLOCK, id_key=ID_KEY))
    wrong = [b"", data[:-1], b"\2" + data[1:], data[:4] + b"\2" + data[5:], data[:0x240] + b"\3" + data[0x241:]]
    wrong += [data[:at] + b"\1" + data[at + 1 :] for at in (8, 0x40 + 144, 0x244 + 144, 0x644, 0x680, 0x880, 0xFFF)]
    for one in wrong:
        with pytest.raises(FormatError):
            decode_id_auth(one)
