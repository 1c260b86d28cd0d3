"""The recorded boots of `tests/vectors/own-boots`, predicted from the digests that stand beside their logs."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from podvm_builder.formats.efi_siglist import Signature, parse_signature_lists
from podvm_builder.formats.eventlog import EventLog
from podvm_builder.formats.gpt import Gpt, measured_data, parse_gpt
from podvm_builder.formats.readers import BytesReader, Extent, ExtentReader
from podvm_builder.measure.boot_log import UKI_SUBJECT, boot_log
from podvm_builder.measure.secure_boot import Keys
from podvm_builder.measure.stub import stub_rules
from podvm_builder.measure.uki_digests import Digests, UkiDigests
from podvm_builder.model.event import Event

BANKS = ("sha1", "sha256", "sha384")
BOOTS = [
    ("252nosb", 252, "absent"),
    ("252sb", 252, "on"),
    ("257nosb", 257, "absent"),
    ("257setup", 257, "off"),
    ("262nosb", 262, "absent"),
    ("262sb", 262, "on"),
]


def _digests(record: dict[str, str]) -> Digests:
    return {bank: bytes.fromhex(record[bank]) for bank in BANKS}


def table_of(data: bytes) -> Gpt:
    """Put the disk back together from the table that the firmware logged: 92 bytes, a count, the used entries."""
    (count,) = struct.unpack_from("<Q", data, 92)
    entries = data[100 : 100 + 128 * count]
    (sectors,) = struct.unpack_from("<Q", data, 32)
    start = bytes(512) + data[:92] + bytes(420) + entries
    extents = [Extent(0, len(start)), Extent(None, (sectors + 1) * 512 - len(start))]
    return parse_gpt(ExtentReader(BytesReader(start), extents))


def predict(folder: Path, version: int, secure_boot: str, log: EventLog) -> tuple[Event, ...]:
    """Return the log of a boot from disk, predicted; of ``log`` only what the vectors lack is taken."""
    meta: dict[str, Any] = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    rules = stub_rules(version)
    assert rules is not None
    sections = meta["uki"]["sections"]
    table = next(event.data for event in log.events if event.name == "EV_EFI_GPT_EVENT")
    gpt = table_of(table)
    assert measured_data(gpt) == table
    # the initrd's length is a multiple of 4, so that stub 252 hands it on as it is; newer stubs append an archive,
    # whose digest the vectors do not give: it is taken from the log
    initrd = next(event for event in log.events if event.data[8:] == b"Linux initrd\0")
    digests = UkiDigests(
        file=b"",
        uki=_digests(meta["uki"]["authenticode"]),
        kernel=_digests(meta["uki"]["linux_authenticode"]) if rules.loads_kernel_by_firmware else None,
        sections={name: _digests(sections[name]) for name in rules.sections if name in sections},
        initrd=_digests(sections[".initrd"]) if version < 256 else {bank: initrd.digests[bank] for bank in BANKS},
    )
    keys, authorities = _keys(log)
    return boot_log(
        digests,
        BANKS,
        boot="disk",
        secure_boot=secure_boot,
        gpt=gpt,
        cmdline=meta["kernel_cmdline"],
        keys=keys,
        authorities=authorities if secure_boot == "on" else {},
    )


def _keys(log: EventLog) -> tuple[Keys, dict[str, Signature]]:
    """Take the variables from the firmware's log, and of db the one entry, which signed the UKI."""
    found = {}
    for event in log.events:
        if event.name == "EV_EFI_VARIABLE_DRIVER_CONFIG" and event.index == 7:
            units, size = struct.unpack_from("<QQ", event.data, 16)
            name = event.data[32 : 32 + 2 * units].decode("utf-16-le").lower()
            found[name] = event.data[32 + 2 * units :]
            assert len(found[name]) == size
    keys = Keys(**{name: data for name, data in found.items() if name != "secureboot"})
    entries = parse_signature_lists(keys.db)
    return keys, dict(zip([UKI_SUBJECT], entries, strict=False))
