"""Initdata documents: what is written reads back, and nothing that the guest refuses is read."""

from __future__ import annotations

import base64
import gzip
import hashlib
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podvm_builder.errors import FormatError
from podvm_builder.formats.initdata import MAX_TOML, annotation, read_initdata, write_initdata
from podvm_builder.measure.initdata import bindings

TEXTS = st.dictionaries(
    st.text(max_size=20), st.text(max_size=200).map(lambda text: text.replace("\r", "")), max_size=4
)
TEXTS = TEXTS.filter(lambda texts: not any(0xD800 <= ord(c) < 0xE000 for text in texts for c in text + texts[text]))


@given(TEXTS, st.sampled_from(["sha256", "sha384", "sha512"]))
def test_what_is_written_reads_back(data: dict[str, str], algorithm: str) -> None:
    made = write_initdata(data, algorithm)
    assert tomllib.loads(made.toml.decode())["data"] == data
    for raw in (made.toml, annotation(made).encode(), annotation(made).encode() + b"\n"):
        assert read_initdata(raw) == made
    assert made.digest == hashlib.new(algorithm, made.toml).digest()


@given(st.binary(max_size=300))
def test_any_bytes_give_a_document_or_an_error(raw: bytes) -> None:
    try:
        read_initdata(raw)
    except FormatError as error:
        assert error.code == "PVB417"


def packed(toml: bytes) -> bytes:
    return base64.b64encode(gzip.compress(toml, mtime=0))


GOOD = b'version = "0.1.0"\nalgorithm = "sha256"\n[data]\n'


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"x", "not TOML"),
        (GOOD.replace(b"sha256", b"sha-256"), "`algorithm`"),
        (GOOD.replace(b"0.1.0", b"1"), "`version`"),
        (GOOD + b"a = 1\n", "texts"),
        (b"x = 1\n" + GOOD, "unknown key `x`"),
        (packed(GOOD)[:-8], "cut short"),
        (base64.b64encode(gzip.compress(GOOD, mtime=0) + b"x"), "follows"),
        (base64.b64encode(b"\x1f\x8b\x08" + b"\xff" * 40), "damaged gzip"),
        (packed(b"#" * (MAX_TOML + 1)), "cut short, or more than"),
        (b"#" * (MAX_TOML + 1), "larger than"),
    ],
)
def test_what_is_no_initdata(raw: bytes, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        read_initdata(raw)


def test_every_byte_counts() -> None:
    assert read_initdata(GOOD).digest != read_initdata(GOOD + b"\n").digest


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_what_evidence_holds(algorithm: str) -> None:
    digest = hashlib.new(algorithm, b"x").digest()
    rows = {row.register: row for row in bindings(digest)}
    assert rows["tpm.pcr08"].value == hashlib.sha256(bytes(32) + digest[:32]).digest()
    assert rows["snp.host_data"].value == digest[:32]
    assert rows["tdx.mrconfigid"].value == (digest + bytes(16))[:48]
    assert rows["cca.personalization"].value == (digest + bytes(32))[:64]
    # a verifier that would not take it is told of
    assert bool(rows["tpm.pcr08"].note) == (algorithm != "sha256")
    assert bool(rows["cca.personalization"].note) == (algorithm != "sha512")
