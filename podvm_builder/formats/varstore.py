"""UEFI variable stores as OVMF and its kin keep them in flash: the variables that are valid, and nothing else.

Specification: edk2 ``VariableFormat.h``; UEFI Platform Initialization 1.8 vol. 3 §3.2.1 (firmware volume header). The
store with authenticated variables alone is read: secure boot needs it. Little-endian.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from podvm_builder.errors import FormatError

CODE = "PVB251"
GLOBAL = uuid.UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")
"""``EFI_GLOBAL_VARIABLE``: SecureBoot, PK, KEK."""
SECURITY = uuid.UUID("d719b2cb-3d3a-4596-a3bc-dad00e67656f")
"""``EFI_IMAGE_SECURITY_DATABASE_GUID``: db, dbx, dbt, dbr."""
ENABLE = uuid.UUID("f0a30bc7-af08-4556-99c4-001009c93a44")
"""edk2's ``gEfiSecureBootEnableDisableGuid``: SecureBootEnable."""

MAX_STORE = 16 << 20
"""Bytes; OVMF's stores have 128 KiB or 528 KiB."""

_FV_NAME = uuid.UUID("fff12b8d-7696-4c8b-a985-2747075b4f50").bytes_le
_AUTHENTICATED = uuid.UUID("aaf32c78-947b-439a-a180-2e144ec37792").bytes_le
_STORE = struct.Struct("<16sIBBHI")
_VARIABLE = struct.Struct("<HBBIQ16sIII16s")
_START = 0x55AA
_FREE = 0xFFFF
"""What erased flash holds behind the last variable."""
_FORMATTED = 0x5A
_HEALTHY = 0xFE
_VALID = (0x3F, 0x3E)
"""VAR_ADDED, and the same while a newer value is being written: such a value holds if no newer one does."""

Variables = Mapping[tuple[uuid.UUID, str], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class VariableStore:
    """The valid variables by vendor and name."""

    variables: Variables

    def get(self, vendor: uuid.UUID, name: str) -> bytes:
        """Return a variable's data, empty where there is none: as firmware measures it."""
        return self.variables.get((vendor, name), b"")

    @property
    def secure_boot(self) -> bool:
        """Whether firmware with secure boot enforces it: a platform key is enrolled, and it was not switched off.

        edk2 sets SecureBootEnable to 1 when it finds a platform key and no such variable.
        """
        return bool(self.get(GLOBAL, "PK")) and self.get(ENABLE, "SecureBootEnable") != b"\0"


def parse_variable_store(data: bytes) -> VariableStore:
    """Read a store: a flash image, or a firmware image that begins with it.

    Raises:
        FormatError: no firmware volume for variables at the start, no authenticated store in it, or a damaged variable.
    """
    if len(data) > MAX_STORE:
        raise FormatError(f"variable store: {len(data)} bytes; at most {MAX_STORE} are credible", code=CODE)
    if len(data) < 72 or data[40:44] != b"_FVH" or data[16:32] != _FV_NAME:
        raise FormatError("variable store: no firmware volume for variables at its start", 0, code=CODE)
    (length,) = struct.unpack_from("<Q", data, 32)
    (start,) = struct.unpack_from("<H", data, 48)
    if start + _STORE.size > len(data) or not start + _STORE.size <= length <= len(data):
        raise FormatError("variable store: the firmware volume is longer than the file", 32, code=CODE)
    signature, size, formatted, state, _, _ = _STORE.unpack_from(data, start)
    if signature != _AUTHENTICATED:
        raise FormatError(
            "variable store: not one of authenticated variables, so that its firmware has no secure boot",
            start,
            code=CODE,
        )
    if (formatted, state) != (_FORMATTED, _HEALTHY):
        raise FormatError("variable store: not formatted, or given up by the firmware", start + 20, code=CODE)
    if not _STORE.size <= size <= length - start:
        raise FormatError(f"variable store: a store of {size} bytes does not fit its volume", start + 16, code=CODE)
    return VariableStore(variables=_variables(data, start + _STORE.size, start + size))


def _variables(data: bytes, at: int, end: int) -> Variables:
    """Return the valid variables; a value in transition gives way to an added one."""
    found: dict[tuple[uuid.UUID, str], bytes] = {}
    added: set[tuple[uuid.UUID, str]] = set()
    for state, key, value in _walk(data, at, end):
        if state == _VALID[0]:
            if key in added:
                raise FormatError(f"variable store: `{key[1]}` is valid twice", code=CODE)
            added.add(key)
            found[key] = value
        elif key not in added:
            found[key] = value
    return found


def _walk(data: bytes, at: int, end: int) -> Iterator[tuple[int, tuple[uuid.UUID, str], bytes]]:
    while at + _VARIABLE.size <= end:
        start, state, _, _, _, _, _, name_size, data_size, vendor = _VARIABLE.unpack_from(data, at)
        if start == _FREE:
            return
        if start != _START:
            raise FormatError("variable store: neither a variable nor free space", at, code=CODE)
        name_at = at + _VARIABLE.size
        value_at = name_at + name_size
        after = value_at + data_size
        if name_size % 2 or after > end:
            raise FormatError("variable store: a variable is longer than the store", at, code=CODE)
        if state in _VALID:
            name = data[name_at : name_at + name_size].decode("utf-16-le", "replace").rstrip("\0")
            yield state, (uuid.UUID(bytes_le=vendor), name), data[value_at:after]
        at = after + -after % 4
