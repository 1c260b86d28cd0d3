"""Arm CCA reference values as the store that Trustee's local verifier reads (`ccatoken`'s ``rv-store``).

``{"platform": [], "realm": [{"initial-measurement", "rak-hash-algorithm", "extensible-measurements": [4],
"personalization-value"}]}``: hex of 64 bytes each, shorter digests with zeros behind them. The platform's part belongs
to its maker and is left empty. The personalization value is that of the init data and so differs between pods: it is
given, or 64 zeros.

No target of this program measures a realm yet: the form is there for measurements that are made elsewhere, and its
tests take made-up ones.
"""

from __future__ import annotations

import re

from podvm_builder.errors import Finding
from podvm_builder.model.measurement import Measurement
from podvm_builder.refvalues.records import as_object, dump, parse_json
from podvm_builder.refvalues.registers import flat_digests, only_boot, register_rows, register_values
from podvm_builder.refvalues.registry import ExportRequest, FlatMap, Format, wrong

SIZE = 64
RAK_HASH = "sha-256"
"""Hash of the realm attestation key in the token, as ccatoken's example has it."""
_RIM = "cca.rim"
_REMS = tuple(f"cca.rem{index}" for index in range(4))
_HEX = re.compile(rf"[0-9a-f]{{{2 * SIZE}}}")
_SIZES = {32: "sha256", 64: "sha512"}


def cca_rv_store(request: ExportRequest) -> bytes:
    """Return the store: an entry for each initial measurement.

    Raises:
        Finding: the initial measurement or one of the extensible ones has no value, or several (PVB601); as for every
            form.
    """
    of_boot = only_boot(request)

    def wanted(row: Measurement) -> bool:
        return row.register in (_RIM, *_REMS) and of_boot(row)

    found = {one.register: one for one in register_values(register_rows(request, wanted))}
    missing = [name for name in (_RIM, *_REMS) if name not in found or (name != _RIM and len(found[name].values) > 1)]
    if missing:
        raise Finding(
            f"the store holds all registers of a realm, and `{missing[0]}` has no value, or several",
            code="PVB601",
            hint="each REM is compared: one that nothing extends is 64 zeros, and must be measured as such",
        )
    rems = [found[name].values[0].ljust(SIZE, b"\0").hex() for name in _REMS]
    return dump(
        {
            "platform": [],
            "realm": [
                {
                    "initial-measurement": value.ljust(SIZE, b"\0").hex(),
                    "rak-hash-algorithm": RAK_HASH,
                    "extensible-measurements": rems,
                    "personalization-value": request.options.personalization or "00" * SIZE,
                }
                for value in found[_RIM].values
            ],
        },
        indent=2,
    )


def read_cca_rv_store(data: bytes) -> FlatMap:
    """Read the realms of a store. A value whose second half is zeros is read as one of SHA-256.

    Raises:
        FormatError: an entry that is none, or entries that differ in their extensible measurements (PVB607).
    """
    realms = as_object(parse_json(data, "cca-rv-store"), "cca-rv-store").get("realm")
    if not isinstance(realms, list) or not realms:
        raise wrong("cca-rv-store: `realm` is not a list of entries")
    found: dict[tuple[str, str], list[bytes]] = {}
    for index, value in enumerate(realms):
        one = as_object(value, f"cca-rv-store: realm {index}")
        rems = one.get("extensible-measurements")
        texts = [one.get("initial-measurement"), *(rems if isinstance(rems, list) else ())]
        if len(texts) != 5 or not all(isinstance(text, str) and _HEX.fullmatch(text) for text in texts):
            raise wrong(f"cca-rv-store: realm {index}: not a RIM and four REMs of 64 bytes")
        size = 32 if str(texts[0]).endswith("00" * 32) else 64
        for name, text in zip((_RIM, *_REMS), texts, strict=True):
            digest = bytes.fromhex(str(text))[:size]
            values = found.setdefault((name, _SIZES[size]), [])
            if digest not in values:
                values.append(digest)
    if any(len(values) > 1 for (name, _), values in found.items() if name != _RIM):
        raise wrong("cca-rv-store: the realms differ in their extensible measurements")
    return flat_digests(found)


FORMAT = Format(
    name="cca-rv-store",
    title="the store of realm measurements that Trustee's local CCA verifier reads (`rv-store`)",
    file="rv-store.json",
    media="application/json",
    encode=cca_rv_store,
    decode=read_cca_rv_store,
    recognise=lambda _, parsed: isinstance(parsed, dict) and "realm" in parsed,
    heeds=frozenset({"boot", "personalization"}),
)
