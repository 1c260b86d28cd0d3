"""What cloud-api-adaptor writes of a pod VM's PCRs: its ``measurements.json``, and annotations of its OCI image.

The file has one bank with lower-case, zero-padded names and values as the guest's ``/sys`` prints them with ``0x`` in
front: ``{"measurements": {"sha256": {"pcr03": "0x…", "pcr11": "0x…"}}}``. The annotations are
``io.github.confidential-containers.measurements.algorithm`` and ``….pcrNN`` with the same values; ours come in the form
that ``oras push --annotation-file`` takes, for the manifest. Both hold one value a PCR.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from podvm_builder.model.measurement import Measurement
from podvm_builder.refvalues.records import as_object, dump, parse_json
from podvm_builder.refvalues.registers import flat_digests, only_boot, register_rows, single_values
from podvm_builder.refvalues.registry import ExportRequest, FlatMap, Format, wrong

BANK = "sha256"
PREFIX = "io.github.confidential-containers.measurements."
_MANIFEST = "$manifest"
_PCR = re.compile(r"pcr([01][0-9]|2[0-3])")
_VALUE = re.compile(r"0x([0-9a-f]{64})")


def caa_json(request: ExportRequest) -> bytes:
    """Return the file."""
    return dump({"measurements": {BANK: _texts(request)}}, indent=2)


def caa_annotations(request: ExportRequest) -> bytes:
    """Return the annotations of the image's manifest."""
    found = {f"{PREFIX}{pcr}": text for pcr, text in _texts(request).items()}
    return dump({_MANIFEST: {f"{PREFIX}algorithm": BANK, **found}}, indent=2)


def read_caa_json(data: bytes) -> FlatMap:
    """Read the file.

    Raises:
        FormatError: another bank, a name that is no PCR, or a value that is no digest (PVB607).
    """
    top = as_object(parse_json(data, "caa-json"), "caa-json")
    banks = as_object(top.get("measurements"), "caa-json: measurements")
    if top.keys() != {"measurements"} or banks.keys() != {BANK}:
        raise wrong(f"caa-json: not one bank, `{BANK}`")
    return _read(as_object(banks[BANK], "caa-json"), "caa-json")


def read_caa_annotations(data: bytes) -> FlatMap:
    """Read the annotations.

    Raises:
        FormatError: as :func:`read_caa_json`.
    """
    top = as_object(parse_json(data, "caa-annotations"), "caa-annotations")
    found = dict(as_object(top.get(_MANIFEST), f"caa-annotations: {_MANIFEST}"))
    if found.pop(f"{PREFIX}algorithm", None) != BANK:
        raise wrong(f"caa-annotations: the algorithm is not `{BANK}`")
    if not all(name.startswith(PREFIX) for name in found):
        raise wrong(f"caa-annotations: a name does not begin with `{PREFIX}`")
    return _read({name.removeprefix(PREFIX): text for name, text in found.items()}, "caa-annotations")


def _texts(request: ExportRequest) -> dict[str, str]:
    of_boot = only_boot(request)

    def wanted(row: Measurement) -> bool:
        return row.register.startswith("tpm.pcr") and row.alg == BANK and of_boot(row)

    values = single_values(register_rows(request, wanted))
    return {register.removeprefix("tpm."): f"0x{value.hex()}" for (register, _), value in sorted(values.items())}


def _read(texts: Mapping[str, object], what: str) -> FlatMap:
    found = {}
    for pcr, text in texts.items():
        match = _VALUE.fullmatch(text) if isinstance(text, str) else None
        if _PCR.fullmatch(pcr) is None or match is None:
            raise wrong(f"{what}: `{pcr}` is not a PCR with a digest of 32 bytes")
        found[f"tpm.{pcr}", BANK] = [bytes.fromhex(match[1])]
    return flat_digests(found)


FORMATS = (
    Format(
        name="caa-json",
        title="`measurements.json` as cloud-api-adaptor writes it: one bank of PCRs",
        file="caa-measurements.json",
        media="application/json",
        encode=caa_json,
        decode=read_caa_json,
        recognise=lambda _, parsed: isinstance(parsed, dict) and "measurements" in parsed and "schema" not in parsed,
        heeds=frozenset({"boot"}),
    ),
    Format(
        name="caa-annotations",
        title="the same as annotations, for `oras push --annotation-file`",
        file="caa-annotations.json",
        media="application/json",
        encode=caa_annotations,
        decode=read_caa_annotations,
        recognise=lambda _, parsed: isinstance(parsed, dict) and _MANIFEST in parsed,
        heeds=frozenset({"boot"}),
    ),
)
