"""The one protobuf message that RVPS uses, against the protobuf library."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podvm_builder.errors import FormatError
from podvm_builder.publish.rvps import decode_text, encode_text

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=300)


@pytest.fixture(scope="module")
def message() -> Any:
    """Return the class of a message with one optional string, made from its description."""
    descriptor_pb2 = pytest.importorskip("google.protobuf.descriptor_pb2")
    from google.protobuf import descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="reference.proto", package="reference", syntax="proto3")
    kind = file.message_type.add(name="ReferenceValueQueryResponse")
    kind.oneof_decl.add(name="_text")
    kind.field.add(name="text", number=1, type=9, label=1, oneof_index=0, proto3_optional=True)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("reference.ReferenceValueQueryResponse"))


@given(text=texts)
def test_what_is_encoded_is_what_the_library_encodes(message: Any, text: str) -> None:
    assert encode_text(text) == message(text=text).SerializeToString()
    assert message.FromString(encode_text(text)).text == text


@given(text=texts)
def test_what_is_written_is_read_back(text: str) -> None:
    assert decode_text(encode_text(text)) == text


def test_other_fields_are_skipped_and_the_last_text_counts() -> None:
    assert decode_text(b"") is None
    assert decode_text(b"\x10\x96\x01" + b"\x1a\x02ab" + b"\x25abcd" + b"\x29abcdefgh") is None
    assert decode_text(encode_text("a") + b"\x10\x01" + encode_text("b")) == "b"


@given(data=st.binary(max_size=60))
def test_any_bytes_are_read_as_the_library_reads_them_or_refused(message: Any, data: bytes) -> None:
    from google.protobuf.message import DecodeError

    try:
        expected = message.FromString(data)
    except DecodeError:
        expected = None
    try:
        found = decode_text(data)
    except FormatError as error:
        assert error.code == "PVB653"
        return
    if expected is not None:
        assert found == (expected.text if expected.HasField("text") else None)
