"""CBOR (RFC 8949) by the library ``cbor2``, which is an extra: written in one way only, read with our errors."""

from __future__ import annotations

from typing import Any

from podvm_builder.errors import FormatError, Lacking

NO_CBOR = "PVB658"


def dumps(value: Any) -> bytes:
    """Return deterministic CBOR (RFC 8949 §4.2.1: the shortest lengths, keys in the order of their bytes).

    Raises:
        Lacking: PVB658, ``cbor2`` is not installed.
    """
    data: bytes = _library().dumps(value, canonical=True)
    return data


def loads(data: bytes, what: str, code: str) -> Any:
    """Read one value that fills the bytes to their end.

    Args:
        data: the bytes.
        what: what messages call it.
        code: of the error's page.

    Raises:
        FormatError: it is no CBOR, or more follows.
        Lacking: PVB658, ``cbor2`` is not installed.
    """
    from io import BytesIO

    library = _library()
    file = BytesIO(data)
    try:
        value = library.CBORDecoder(file).decode()
    except (library.CBORError, ValueError, TypeError, RecursionError, OverflowError, MemoryError) as error:
        raise FormatError(f"{what}: not CBOR: {type(error).__name__}", code=code) from error
    if file.tell() != len(data):
        raise FormatError(f"{what}: {len(data) - file.tell()} bytes follow the value", file.tell(), code=code)
    return value


def tag(number: int, value: Any) -> Any:
    """Return a tagged value, to be written.

    Raises:
        Lacking: PVB658, ``cbor2`` is not installed.
    """
    return _library().CBORTag(number, value)


def untag(value: Any, number: int, what: str, code: str) -> Any:
    """Return what stands in a tag. It cannot be changed: its arrays may be tuples, its maps are mappings.

    Raises:
        FormatError: it is not in this tag.
    """
    if not isinstance(value, _library().CBORTag) or value.tag != number:
        raise FormatError(f"{what}: no tag {number}", code=code)
    return value.value


def _library() -> Any:
    try:
        import cbor2
    except ImportError:
        raise Lacking(
            "CoRIM is CBOR, and `cbor2` is not installed", code=NO_CBOR, hint="pip install 'podvm-build[corim]'"
        ) from None
    return cbor2
