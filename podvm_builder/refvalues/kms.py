"""The condition of an AWS KMS key policy that ties a key to machines with a NitroTPM of this image.

``kms:RecipientAttestation:NitroTPMPCR<N>`` is compared with a PCR of the attestation document that a request carries
(AWS KMS Developer Guide, "Condition keys for NitroTPM"): lower-case hex of the SHA-384 bank. Of a list of values one
must match, and all keys of a condition must. PCR 4 holds what the firmware started, PCR 7 the secure boot state, PCR 12
what was passed to the UKI from outside; PCR 8, of the init data, differs between pods.
"""

from __future__ import annotations

import re

from podvm_builder.model.measurement import Measurement
from podvm_builder.refvalues.records import as_object, dump, parse_json
from podvm_builder.refvalues.registers import flat_digests, only_boot, register_rows, register_values
from podvm_builder.refvalues.registry import ExportRequest, FlatMap, Format, wrong

BANK = "sha384"
PCRS = (4, 7, 12)
OPERATOR = "StringEquals"
KEY = "kms:RecipientAttestation:NitroTPMPCR"
_KEY = re.compile(rf"{re.escape(KEY)}([0-9]|1[0-9]|2[0-3])")
_VALUE = re.compile(r"[0-9a-f]{96}")
_REGISTERS = {f"tpm.pcr{index:02}": index for index in PCRS}


def kms_condition(request: ExportRequest) -> bytes:
    """Return the value of ``Condition`` of a statement."""
    of_boot = only_boot(request)

    def wanted(row: Measurement) -> bool:
        return row.register in _REGISTERS and row.alg == BANK and of_boot(row)

    found = {
        f"{KEY}{_REGISTERS[one.register]}": [value.hex() for value in one.values]
        for one in register_values(register_rows(request, wanted))
    }
    condition = {name: values[0] if len(values) == 1 else values for name, values in found.items()}
    return dump({OPERATOR: condition}, indent=2)


def read_kms_condition(data: bytes) -> FlatMap:
    """Read such a condition.

    Raises:
        FormatError: another operator or key, or a value that is no digest in lower-case hex (PVB607).
    """
    top = as_object(parse_json(data, "kms-condition"), "kms-condition")
    if top.keys() != {OPERATOR}:
        raise wrong(f"kms-condition: not one operator, `{OPERATOR}`")
    found = {}
    for name, value in as_object(top[OPERATOR], "kms-condition").items():
        match = _KEY.fullmatch(name)
        texts = value if isinstance(value, list) else [value]
        if match is None or not all(isinstance(text, str) and _VALUE.fullmatch(text) for text in texts):
            raise wrong(f"kms-condition: `{name}` is not a PCR with digests of 48 bytes")
        found[f"tpm.pcr{int(match[1]):02}", BANK] = [bytes.fromhex(text) for text in texts]
    return flat_digests(found)


FORMAT = Format(
    name="kms-condition",
    title="the `Condition` of an AWS KMS key policy for NitroTPM: PCR 4, 7 and 12 of the SHA-384 bank",
    file="kms-condition.json",
    media="application/json",
    encode=kms_condition,
    decode=read_kms_condition,
    recognise=lambda _, parsed: isinstance(parsed, dict) and parsed.keys() == {OPERATOR},
    heeds=frozenset({"boot"}),
)
