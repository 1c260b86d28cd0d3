"""Variable stores: values right behind their names, as edk2 lays them out, and nothing left out silently."""

from __future__ import annotations

import struct

import pytest

from podvm_builder.errors import FormatError
from podvm_builder.formats.varstore import ENABLE, GLOBAL, SECURITY, parse_variable_store
from tests.support.real_firmware import debian_ovmf
from tests.support.varstore import build_store, variable


def test_values_stand_right_behind_their_names() -> None:
    # names whose UTF-16 form has a length of 6, 8 and 20 bytes: nothing aligns the value, the next variable is aligned
    store = parse_variable_store(
        build_store([(GLOBAL, "PK", b"12345"), (SECURITY, "dbx", b"1"), (GLOBAL, "BootOrder", b"\1\0")])
    )
    assert store.get(GLOBAL, "PK") == b"12345"
    assert store.get(SECURITY, "dbx") == b"1"
    assert store.get(GLOBAL, "BootOrder") == b"\1\0"
    assert store.get(SECURITY, "db") == b""
    assert store.secure_boot


def test_what_was_deleted_or_switched_off_does_not_count() -> None:
    store = parse_variable_store(
        build_store([(GLOBAL, "PK", b"key"), (ENABLE, "SecureBootEnable", b"\0")], deleted=[(SECURITY, "db", b"old")])
    )
    assert store.get(SECURITY, "db") == b""
    assert not store.secure_boot


def test_damage_inside_the_store_is_not_taken_for_its_end() -> None:
    data = bytearray(build_store([(GLOBAL, "PK", b"key"), (GLOBAL, "KEK", b"more")]))
    at = bytes(data).index(variable(GLOBAL, "KEK", b"more"))
    struct.pack_into("<H", data, at, 0x1234)
    with pytest.raises(FormatError, match="neither a variable nor free space") as caught:
        parse_variable_store(bytes(data))
    assert caught.value.offset == at


def test_debians_store_with_microsofts_keys() -> None:
    path = debian_ovmf().parent.parent / "OVMF/OVMF_VARS_4M.ms.fd"
    if not path.is_file():
        pytest.skip("this OVMF comes without a store with keys")
    store = parse_variable_store(path.read_bytes())
    assert store.secure_boot
    # each of them is a list of X.509 certificates
    for vendor, name in ((GLOBAL, "PK"), (GLOBAL, "KEK"), (SECURITY, "db")):
        assert store.get(vendor, name)[:4].hex() == "a159c0a5"
