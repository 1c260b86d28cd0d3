"""DSSE envelopes, COSE messages, CoRIMs: what is written is read back, any bytes give a value or an error of ours."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podvm_builder.errors import FormatError
from podvm_builder.formats.corim import (
    ALGORITHMS,
    Corim,
    CorimMeasurement,
    Environment,
    Oid,
    ReferenceTriple,
    decode_corim,
    encode_corim,
)
from podvm_builder.formats.cose import Sign1, decode_sign1, encode_sign1
from podvm_builder.formats.dsse import Envelope, Signature, decode_envelope, encode_envelope, pre_authentication

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
envelopes = st.builds(
    Envelope,
    payload=st.binary(max_size=40),
    payload_type=texts,
    signatures=st.lists(st.builds(Signature, keyid=texts, sig=st.binary(max_size=70)), min_size=1, max_size=3).map(
        tuple
    ),
)
digests = st.sampled_from(list(ALGORITHMS)).flatmap(
    lambda alg: st.tuples(st.just(alg), st.binary(min_size=int(alg[3:]) // 8, max_size=int(alg[3:]) // 8))
)
lists_of_digests = st.lists(digests, min_size=1, max_size=3).map(tuple)
oids = st.builds(
    lambda first, second, rest: Oid((first, second, *rest)),
    st.integers(0, 2),
    st.integers(0, 39),
    st.lists(st.integers(0, 2**64), max_size=5),
) | st.builds(lambda second: Oid((2, second)), st.integers(40, 2**64))
measurements = st.builds(
    CorimMeasurement, key=st.none() | texts | st.integers(0, 2**32), digests=lists_of_digests
) | st.builds(
    CorimMeasurement,
    key=st.none() | texts,
    digests=st.just(()) | lists_of_digests,
    # canonical CBOR puts shorter names first
    registers=st.dictionaries(texts, lists_of_digests, min_size=1, max_size=3).map(
        lambda found: tuple(sorted(found.items(), key=lambda one: (len(one[0].encode()), one[0].encode())))
    ),
)
corims = st.builds(
    Corim,
    id=texts,
    tag_id=texts,
    profile=st.none() | texts | oids,
    triples=st.lists(
        st.builds(
            ReferenceTriple,
            environment=st.builds(
                Environment,
                class_id=st.none() | st.uuids(),
                vendor=st.none() | texts,
                model=st.none() | texts,
            ),
            measurements=st.lists(measurements, min_size=1, max_size=3).map(tuple),
        ),
        min_size=1,
        max_size=3,
    ).map(tuple),
)

SOME = (
    ReferenceTriple(
        environment=Environment(class_id=UUID(int=1)),
        measurements=(CorimMeasurement(key=641, digests=(("sha384", bytes(48)),)),),
    ),
)


@given(envelope=envelopes)
def test_envelopes_are_read_back(envelope: Envelope) -> None:
    assert decode_envelope(encode_envelope(envelope)) == envelope


@given(corim=corims)
def test_corims_are_read_back(corim: Corim) -> None:
    data = encode_corim(corim)
    assert decode_corim(data) == corim
    assert encode_corim(decode_corim(data)) == data


@given(protected=st.binary(max_size=20), payload=st.binary(max_size=20), signature=st.binary(max_size=20))
def test_messages_are_read_back(protected: bytes, payload: bytes, signature: bytes) -> None:
    message = Sign1(protected=protected, payload=payload, signature=signature)
    assert decode_sign1(encode_sign1(message)) == message


@given(data=st.binary(max_size=100))
def test_any_bytes_give_a_value_or_an_error_of_ours(data: bytes) -> None:
    for decode, code in ((decode_envelope, "PVB663"), (decode_sign1, "PVB664"), (decode_corim, "PVB664")):
        try:
            decode(data)
        except FormatError as error:
            assert error.code == code


@given(corim=corims, at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_is_read_or_refused(corim: Corim, at: int, bit: int) -> None:
    data = bytearray(encode_corim(corim))
    data[at % len(data)] ^= 1 << bit
    try:
        decode_corim(bytes(data))
    except FormatError as error:
        assert error.code == "PVB664"


def test_what_is_signed_is_the_specifications_example() -> None:
    assert pre_authentication("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_the_uuid_is_the_fourth_kind_of_tag() -> None:
    corim = Corim(id="a", tag_id="b", triples=SOME)
    assert bytes.fromhex("d825 50 00000000000000000000000000000001") in encode_corim(corim)


@pytest.mark.parametrize(
    "data", [b"\x81" * 100_000, bytes.fromhex("9b7fffffffffffffff"), bytes.fromhex("5b7fffffffffffffff")]
)
def test_lengths_and_depths_that_cannot_be_are_refused(data: bytes) -> None:
    for decode in (decode_sign1, decode_corim):
        with pytest.raises(FormatError):
            decode(data)


def test_the_message_of_the_rfc_verifies() -> None:
    """RFC 9052, appendix C.2.1: a message with one ECDSA signature, and the public key `11` of appendix C.7.1."""
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicNumbers

    from podvm_builder.formats.cose import to_be_signed
    from podvm_builder.refvalues.keys import P256, VerifyingKey

    message = decode_sign1(
        bytes.fromhex(
            "d28443a10126a10442313154546869732069732074686520636f6e74656e742e58408eb33e4ca31d1c465ab05aac34cc6b23d58fef5c08"
            "3106c4d25a91aef0b0117e2af9a291aa32e14ab834dc56ed2a223444547e01f11d3b0916e5a4c345cacb36"
        )
    )
    assert message.payload == b"This is the content."
    assert message.header == {1: -7}
    x = 0xBAC5B11CAD8F99F9C72B05CF4B9E26D244DC189F745228255A219A86D6A09EFF
    y = 0x20138BF82DC1B6D562BE0FA54AB7804A3A64B6D72CCFED6B6FB6ED28BBFC117E
    key = VerifyingKey(kind=P256, key=EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key())
    assert key.verify(message.signature, to_be_signed(message.protected, message.payload))
    assert not key.verify(message.signature, to_be_signed(message.protected, b"That is the content."))


@pytest.mark.parametrize("content", ["40", "4180", "42608a", "43608001", "6161", "01"])
def test_an_object_identifier_is_whole_and_of_the_shortest_form(content: str) -> None:
    data = encode_corim(Corim(id="a", tag_id="b", profile=Oid((2, 16)), triples=SOME))
    assert decode_corim(data).profile == Oid((2, 16))
    changed = data.replace(bytes.fromhex("d86f4160"), bytes.fromhex("d86f" + content))
    assert changed != data
    with pytest.raises(FormatError) as caught:
        decode_corim(changed)
    assert caught.value.code == "PVB664"
