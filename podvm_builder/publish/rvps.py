"""Reference values in an RVPS over gRPC, without generated code.

Package ``reference``, service ``ReferenceValueProviderService``. Each message has one string in field 1, so the
protobuf encoding is a tag, a length and the text:

* ``RegisterReferenceValue``: the registration message as JSON; the answer is empty.
* ``QueryReferenceValue``, Trustee 0.16 and newer: a name; the answer has the JSON of its value, or nothing.
* ``QueryReferenceValue``, Trustee 0.15 and older: nothing; the answer has a JSON object of all values.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from podvm_builder.errors import FormatError, Lacking, RemoteError
from podvm_builder.publish.address import Address
from podvm_builder.publish.store import ATTEMPTS, PAUSE, REFUSED, UNREACHABLE
from podvm_builder.refvalues.trustee import registration_message

if TYPE_CHECKING:
    import grpc

REGISTER = "/reference.ReferenceValueProviderService/RegisterReferenceValue"
QUERY = "/reference.ReferenceValueProviderService/QueryReferenceValue"
MAX_ANSWER = 8 << 20
"""Bytes."""
NO_GRPC = "PVB658"

_TEXT = 1 << 3 | 2
"""Tag of field 1, length-delimited."""
_VARINT = 0
_FIXED = {1: 8, 5: 4}
"""Wire types of fixed size, with that size."""


class RvpsStore:
    """The values of one RVPS; a context manager that closes the connection.

    Args:
        address: ``grpc`` or ``grpcs``.
        ca: PEM certificates that alone are trusted; gRPC's own if None.
        timeout: seconds that one call may take.
        by_name: whether values are asked for one by one (Trustee 0.16 and newer).
    """

    def __init__(self, address: Address, *, ca: str | None, timeout: float, by_name: bool = True) -> None:
        """Open a channel; nothing is sent.

        Raises:
            Lacking: PVB658, grpcio is not installed.
        """
        try:
            import grpc
        except ImportError:
            raise Lacking(
                "an RVPS speaks gRPC, and `grpcio` is not installed",
                code=NO_GRPC,
                hint="pip install 'podvm-build[rvps]', or register through the KBS with an http address",
            ) from None
        options = [("grpc.max_receive_message_length", MAX_ANSWER)]
        if address.is_loopback:
            options.append(("grpc.enable_http_proxy", 0))
        self._channel = (
            grpc.secure_channel(
                address.authority,
                grpc.ssl_channel_credentials(None if ca is None else ca.encode("ascii")),
                options=options,
            )
            if address.is_encrypted
            else grpc.insecure_channel(address.authority, options=options)
        )
        self._where = str(address)
        self._timeout = timeout
        self._by_name = by_name

    def __enter__(self) -> RvpsStore:
        """Return the store itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self._channel.close()

    @property
    def where(self) -> str:
        """The address of the RVPS."""
        return self._where

    def read(self, names: Iterable[str]) -> dict[str, Any]:
        """Return the values of those names that are registered.

        Raises:
            RemoteError: PVB652 or PVB653.
        """
        if not self._by_name:
            everything = self._value(self._ask(b"")) or {}
            if not isinstance(everything, dict):
                raise self._unreadable("not an object")
            return {name: everything[name] for name in names if name in everything}
        found = {}
        for name in names:
            answer = self._ask(encode_text(name))
            if self._text(answer) is not None:
                found[name] = self._value(answer)
        return found

    def write(self, values: Mapping[str, Any]) -> None:
        """Register values with one message.

        Raises:
            RemoteError: PVB652 or PVB653.
        """
        self._call(REGISTER, encode_text(registration_message(dict(values)).decode("ascii")))

    def _ask(self, request: bytes) -> bytes:
        """Query, and again where that may help."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._call(QUERY, request)
            except RemoteError as error:
                if error.code == REFUSED or attempt == ATTEMPTS:
                    raise
            time.sleep(PAUSE * 2 ** (attempt - 1))
        raise AssertionError("the last attempt answers or raises")

    def _call(self, method: str, request: bytes) -> bytes:
        import grpc

        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(method)
        try:
            answer = call(request, timeout=self._timeout)
        except grpc.RpcError as error:
            raise self._failed(error) from error
        return answer

    def _failed(self, error: grpc.RpcError) -> RemoteError:
        import grpc

        status, details = error.code(), error.details()
        refused = status in (
            grpc.StatusCode.UNAUTHENTICATED,
            grpc.StatusCode.PERMISSION_DENIED,
            grpc.StatusCode.UNIMPLEMENTED,
            grpc.StatusCode.INVALID_ARGUMENT,
        )
        return RemoteError(
            f"{self._where} answered {status.name}{f': {details[:300]}' if details else ''}",
            code=REFUSED if refused else UNREACHABLE,
            hint="see that this is the address of an RVPS, or of a gRPC attestation service, and that it runs",
        )

    def _text(self, answer: bytes) -> str | None:
        try:
            return decode_text(answer)
        except FormatError as error:
            raise self._unreadable(error.what) from error

    def _value(self, answer: bytes) -> Any:
        text = self._text(answer)
        if text is None:
            return None
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise self._unreadable("not JSON") from None

    def _unreadable(self, why: str) -> RemoteError:
        return RemoteError(
            f"{self._where}: the answer is {why}",
            code=UNREACHABLE,
            hint="is `--trustee` its version? How values are read changed with 0.16",
        )


def encode_text(text: str) -> bytes:
    """Return a protobuf message whose field 1 is a text."""
    data = text.encode("utf-8")
    return bytes([_TEXT]) + _encode_varint(len(data)) + data


def decode_text(data: bytes) -> str | None:
    """Return the text in field 1 of a protobuf message, None where it has none; other fields are skipped.

    Raises:
        FormatError: PVB653, it is no protobuf message, or the text is not UTF-8.
    """
    found: str | None = None
    offset = 0
    while offset < len(data):
        tag, start = _decode_varint(data, offset)
        kind = tag & 7
        if kind == _VARINT:
            _, end = _decode_varint(data, start)
        elif kind in _FIXED:
            end = start + _FIXED[kind]
        elif kind == _TEXT & 7:
            length, start = _decode_varint(data, start)
            end = start + length
        else:
            raise FormatError(f"no message: wire type {kind}", offset, code=UNREACHABLE)
        if end > len(data):
            raise FormatError("no message: a field is longer than it", offset, code=UNREACHABLE)
        if tag == _TEXT:
            try:
                found = data[start:end].decode("utf-8")
            except UnicodeDecodeError:
                raise FormatError("no message: its text is not UTF-8", start, code=UNREACHABLE) from None
        offset = end
    return found


def _encode_varint(value: int) -> bytes:
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)


def _decode_varint(data: bytes, offset: int) -> tuple[int, int]:
    """Return a number of at most 64 bits and the offset behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if offset >= len(data):
            break
        byte = data[offset]
        offset += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, offset
    raise FormatError("no message: a number does not end", offset, code=UNREACHABLE)
