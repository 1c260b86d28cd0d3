"""A policy of Microsoft Azure Attestation for its TPM endpoint: machines whose PCRs are this image's.

The grammar is policy version 1.2, and the claim the one that Microsoft documents for this purpose ("Examples of an
attestation policy for TPM endpoint": TPMs that match known PCR hashes): ``pcrs``, queried by JmesPath for the SHA-256
bank. Every value adds a claim of its own; a register is right when one of its claims is true, and all must be.

Nothing else is written: that claims of SNP reports or TD quotes may be compared in a policy of one's own is not
confirmed by what Microsoft documents for policy authors, and on Azure they speak of Microsoft's firmware and not of the
image.
"""

from __future__ import annotations

import re

from podvm_builder.model.measurement import Measurement
from podvm_builder.refvalues.records import bounded
from podvm_builder.refvalues.registers import flat_digests, only_boot, register_rows, register_values
from podvm_builder.refvalues.registry import ExportRequest, FlatMap, Format, wrong

BANK = "sha256"
PCRS = (4, 7, 9, 11, 12)
"""What says something of the image; init data (PCR 8) differs between pods."""
_REGISTERS = {f"tpm.pcr{index:02}": index for index in PCRS}
_CLAIM = "pcr{}Matches"
_ADD = (
    '    c:[type=="pcrs", issuer=="AttestationService"] => add(type="{claim}", value=JsonToClaimValue('
    "JmesPath(c.value, \"PCRs[? Index == `{index}`].Digests.SHA256 | @[0] == '{value}'\")));"
)
_ADDED = re.compile(
    r' {4}c:\[type=="pcrs", issuer=="AttestationService"\] => add\(type="pcr([0-9]{1,2})Matches", '
    r'value=JsonToClaimValue\(JmesPath\(c\.value, "PCRs\[\? Index == `([0-9]{1,2})`\]\.Digests\.SHA256 '
    r"\| @\[0\] == '([0-9a-f]{64})'\"\)\)\);"
)


def maa(request: ExportRequest) -> bytes:
    """Return the policy."""
    of_boot = only_boot(request)

    def wanted(row: Measurement) -> bool:
        return row.register in _REGISTERS and row.alg == BANK and of_boot(row)

    found = {
        _REGISTERS[one.register]: [value.hex() for value in one.values]
        for one in register_values(register_rows(request, wanted))
    }
    return _render(found).encode("ascii")


def read_maa(data: bytes) -> FlatMap:
    """Read a policy of this form.

    Raises:
        FormatError: it is not what this program writes (PVB607).
    """
    bounded(data, "maa")
    text = data.decode("utf-8", errors="replace")
    found: dict[int, list[str]] = {}
    for line in text.splitlines():
        match = _ADDED.fullmatch(line)
        if match is not None and match[1] == match[2]:
            found.setdefault(int(match[1]), []).append(match[3])
    if not found or _render(found) != text:
        raise wrong("maa: not a policy of PCRs as it is exported here")
    return flat_digests(
        {(f"tpm.pcr{index:02}", BANK): [bytes.fromhex(one) for one in values] for index, values in found.items()}
    )


def _render(found: dict[int, list[str]]) -> str:
    lines = ["version=1.2;", "", "configurationrules", "{", "};", "", "authorizationrules", "{"]
    for index, values in found.items():
        lines += [_ADD.format(claim=_CLAIM.format(index), index=index, value=value) for value in values]
    lines.append("")
    conditions = [f'    [type=="{_CLAIM.format(index)}", value==true]' for index in found]
    lines += [f"{condition} &&" for condition in conditions[:-1]] + [f"{conditions[-1]} => permit();"]
    return "\n".join([*lines, "};", "", "issuancerules", "{", "};", ""])


FORMAT = Format(
    name="maa",
    title="a policy of Microsoft Azure Attestation for its TPM endpoint: PCR 4, 7, 9, 11 and 12",
    file="maa-policy.txt",
    media="text/plain",
    encode=maa,
    decode=read_maa,
    recognise=lambda data, parsed: parsed is None and data.startswith(b"version=1."),
    heeds=frozenset({"boot"}),
)
