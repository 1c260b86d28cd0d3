"""Secure-boot keys from the files that options name: a variable store, signature lists, certificates."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence

from podvm_builder.cli.input_files import named, read_file
from podvm_builder.errors import FormatError, InputError
from podvm_builder.formats.efi_siglist import MAX_LISTS, X509, encode_signature_list, strip_authentication
from podvm_builder.formats.varstore import MAX_STORE, parse_variable_store
from podvm_builder.measure.secure_boot import CODE, Keys, check_state

_PEM = b"-----BEGIN CERTIFICATE-----"


def read_keys(
    store: os.PathLike[str] | None,
    lists: Mapping[str, Sequence[os.PathLike[str]]],
    *,
    owner: str | None,
    secure_boot: str | None,
) -> tuple[Keys | None, str]:
    """Return the keys, if any were given, and the state of secure boot.

    Args:
        store: a variable store; the state follows from it.
        lists: by variable name (``pk``, ``kek``, ``db``, ``dbx``), files in the order in which they are enrolled.
        owner: GUID that certificates are enrolled under.
        secure_boot: the state as the user gave it.

    Raises:
        InputError: PVB246, options that do not go together.
        FormatError: a file that is none of what is read here.
    """
    explicit = any(lists.values())
    if store is not None and explicit:
        raise InputError("`--vars` and single keys exclude each other", code=CODE)
    if store is not None:
        data = read_file(store, limit=MAX_STORE)
        with named(store):
            variables = parse_variable_store(data)
            if secure_boot is not None:
                check_state(variables, secure_boot)
            return Keys.from_store(variables), "on" if variables.secure_boot else "off"
    if not explicit:
        if owner is not None:
            raise InputError("`--owner` without a certificate that it would own", code=CODE)
        return None, secure_boot or "absent"
    state = secure_boot or "on"
    if state == "absent":
        raise InputError("keys, and firmware without secure boot: nothing measures them", code=CODE)
    if state == "on" and not (lists.get("pk") and lists.get("db")):
        raise InputError("secure boot `on` needs at least `--pk` and `--db`", code=CODE)
    found = {name: b"".join(_read(path, owner) for path in paths) for name, paths in lists.items()}
    return Keys(**found), state


def _read(path: os.PathLike[str], owner: str | None) -> bytes:
    """Return signature lists: those of the file, or one of a certificate."""
    data = read_file(path, limit=MAX_LISTS)
    with named(path):
        if data.lstrip().startswith(_PEM):
            return encode_signature_list(X509, _owner(owner), _der(data))
        # a DER certificate is a SEQUENCE of 256 bytes to 64 KiB
        if data[:2] == b"\x30\x82":
            return encode_signature_list(X509, _owner(owner), data)
        return strip_authentication(data) if data[22:24] == b"\xf1\x0e" else data


def _owner(owner: str | None) -> uuid.UUID:
    if owner is None:
        raise InputError(
            "a certificate needs `--owner`, the GUID that it is enrolled under: firmware measures that, too",
            code=CODE,
            hint="give the GUID, or signature lists (.esl) as they are enrolled",
        )
    try:
        return uuid.UUID(owner)
    except ValueError:
        raise InputError(f"`--owner {owner}` is not a GUID", code=CODE) from None


def _der(data: bytes) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    try:
        return x509.load_pem_x509_certificate(data).public_bytes(Encoding.DER)
    except ValueError as error:
        raise FormatError(f"certificate: {error}", code="PVB250") from error
