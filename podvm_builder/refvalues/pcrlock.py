"""A component of systemd-pcrlock (systemd.pcrlock(5)): the measurements that one boot path adds, in their order.

The file is ``{"records": [{"pcr": 4, "digests": [{"hashAlg": "sha256", "digest": "<hex>"}, …]}, …]}``. A record is one
extension, not the register's value, so what is exported are the events of a boot log; of PCRs only that are predicted
to the end, because a part of a register's events would promise a value that no machine reaches.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from podvm_builder.errors import InputError
from podvm_builder.measure.explain import log_of
from podvm_builder.model.measurement import Measurement
from podvm_builder.refvalues.records import as_object, dump, parse_json
from podvm_builder.refvalues.registers import AMBIGUOUS, flat_digests, only_boot, register_rows
from podvm_builder.refvalues.registry import ExportRequest, FlatMap, Format, wrong

SIZES: Mapping[str, int] = {"sha1": 20, "sha256": 32, "sha384": 48, "sha512": 64}
"""Banks that systemd-pcrlock knows, with the bytes of their digests."""
_PCR = re.compile(r"tpm\.pcr([0-9]{2})")


def pcrlock(request: ExportRequest) -> bytes:
    """Return the component of one boot path.

    Raises:
        InputError: PVB662, the measurements have several boot paths and none is named.
        Finding: as for every form.
    """
    of_boot = only_boot(request)

    def wanted(row: Measurement) -> bool:
        return _PCR.fullmatch(row.register) is not None and row.alg in SIZES and of_boot(row)

    rows = [row for row in register_rows(request, wanted) if row.origin is not None]
    logs = dict.fromkeys(row.origin[1] for row in rows if row.origin is not None)
    if len(logs) != 1:
        raise InputError(
            f"a component holds the events of one boot log, and the measurements have {len(logs)} that are known",
            code=AMBIGUOUS,
            hint="measure the built image once more; of a union of images there is none"
            if not logs
            else f"say which with `--boot`: {', '.join(logs)}",
        )
    banks: dict[int, list[str]] = {}
    for row in rows:
        banks.setdefault(int(row.register[-2:]), []).append(row.alg)
    log = log_of(request.measurements, rows[0])
    records = []
    for event in log:
        known = [alg for alg in banks.get(event.pcr, ()) if alg in event.digests]
        if known:
            digests = [{"hashAlg": alg, "digest": event.digests[alg].hex()} for alg in known]
            records.append({"pcr": event.pcr, "digests": digests})
    return dump({"records": records}, indent=2)


def read_pcrlock(data: bytes) -> FlatMap:
    """Read a component, and return the values of its PCRs: each starts from zero and is extended by its records.

    Raises:
        FormatError: a record that is none, or a bank that some records of a PCR leave out (PVB607).
    """
    top = as_object(parse_json(data, "pcrlock"), "pcrlock")
    records = top.get("records")
    if not isinstance(records, list):
        raise wrong("pcrlock: `records` is not a list")
    values: dict[tuple[str, str], bytes] = {}
    banks: dict[int, frozenset[str]] = {}
    for index, record in enumerate(records):
        pcr, digests = _record(record, f"pcrlock: record {index}")
        if banks.setdefault(pcr, frozenset(digests)) != digests.keys():
            raise wrong(f"pcrlock: record {index} has other banks than those of PCR {pcr} before it")
        for alg, digest in digests.items():
            key = (f"tpm.pcr{pcr:02}", alg)
            values[key] = hashlib.new(alg, values.get(key, bytes(SIZES[alg])) + digest).digest()
    return flat_digests({key: [value] for key, value in values.items()})


def _record(value: object, what: str) -> tuple[int, dict[str, bytes]]:
    record = as_object(value, what)
    pcr, listed = record.get("pcr"), record.get("digests")
    if not isinstance(pcr, int) or isinstance(pcr, bool) or not 0 <= pcr <= 23 or not isinstance(listed, list):
        raise wrong(f"{what}: no PCR, or no list of digests")
    digests: dict[str, bytes] = {}
    for item in listed:
        one = as_object(item, what)
        alg, text = one.get("hashAlg"), one.get("digest")
        if not isinstance(alg, str) or not isinstance(text, str) or alg in digests:
            raise wrong(f"{what}: a digest without `hashAlg` or `digest`, or a bank that is there twice")
        if alg not in SIZES or re.fullmatch(rf"[0-9a-f]{{{2 * SIZES[alg]}}}", text) is None:
            raise wrong(f"{what}: `{alg}` and `{text[:16]}` are not a bank with a digest of it")
        digests[alg] = bytes.fromhex(text)
    return pcr, digests


FORMAT = Format(
    name="pcrlock",
    title="a component of `systemd-pcrlock`: the events of one boot path",
    file="podvm.pcrlock",
    media="application/json",
    encode=pcrlock,
    decode=read_pcrlock,
    recognise=lambda _, parsed: isinstance(parsed, dict) and "records" in parsed,
    heeds=frozenset({"boot"}),
)
