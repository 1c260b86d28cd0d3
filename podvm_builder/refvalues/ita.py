"""A policy of Intel Trust Authority (version 2 of its Rego): machines whose registers are this image's.

The claims are those of Intel's documentation: ``input.tdx.tdx_mrtd``, ``tdx_rtmr0`` to ``tdx_rtmr3`` and
``tdx_is_debuggable`` of a TD, and ``input.tpm.pcrs``, a list of ``alg``, ``index`` and ``digest``, of a TD with a vTPM.
Digests are lower-case hex, as in Intel's examples. A policy matches by ``match``; of built-in functions only few are
allowed, so that there are none: a register with several values has a rule for each.
"""

from __future__ import annotations

import re

from podvm_builder.errors import InputError
from podvm_builder.model.measurement import Measurement
from podvm_builder.refvalues.records import bounded
from podvm_builder.refvalues.registers import flat_digests, only_boot, register_rows, register_values
from podvm_builder.refvalues.registry import ExportRequest, FlatMap, Format, wrong

PCRS = ("tpm.pcr04", "tpm.pcr07", "tpm.pcr09", "tpm.pcr11", "tpm.pcr12")
_CLAIMS = {"tdx.mrtd": "tdx_mrtd", **{f"tdx.rtmr{index}": f"tdx_rtmr{index}" for index in range(4)}}
_OF_EVIDENCE = {"tdx": frozenset(_CLAIMS), "az-tdx-vtpm": frozenset({"tdx.mrtd", *PCRS})}
"""Registers that Trust Authority can see, by the evidence that a machine sends. Azure's RTMRs are zero."""
_NOT_COVERED = "PVB604"
_EQUAL = re.compile(r"    input\.tdx\.(tdx_[a-z0-9]+) == \"([0-9a-f]{96})\"")
_PCR_RULE = re.compile(r"is_tpm_pcr([0-9]{2}) if \{")
_PCR_EQUAL = re.compile(r"    pcr\.digest == \"([0-9a-f]{64})\"")


def ita(request: ExportRequest) -> bytes:
    """Return the policy.

    Raises:
        InputError: PVB604, Trust Authority attests no evidence of this type.
        Finding: as for every form.
    """
    evidence = request.measurements.evidence if request.evidence is None else request.evidence
    registers = _OF_EVIDENCE.get(evidence)
    if registers is None:
        raise InputError(
            f"Intel Trust Authority's claims of evidence `{evidence}` are not known here",
            code=_NOT_COVERED,
            hint=f"those of {', '.join(_OF_EVIDENCE)} are",
        )
    of_boot = only_boot(request)

    def wanted(row: Measurement) -> bool:
        bank = "sha256" if row.register in PCRS else "sha384"
        return row.register in registers and row.alg == bank and of_boot(row)

    found = {
        one.register: [value.hex() for value in one.values] for one in register_values(register_rows(request, wanted))
    }
    return _render(found).encode("ascii")


def read_ita(data: bytes) -> FlatMap:
    """Read a policy of this form.

    Raises:
        FormatError: it is not what this program writes (PVB607).
    """
    bounded(data, "ita")
    text = data.decode("utf-8", errors="replace")
    names = {claim: register for register, claim in _CLAIMS.items()}
    found: dict[str, list[str]] = {}
    pcr = ""
    for line in text.splitlines():
        if (match := _EQUAL.fullmatch(line)) and match[1] in names:
            found.setdefault(names[match[1]], []).append(match[2])
        elif match := _PCR_RULE.fullmatch(line):
            pcr = f"tpm.pcr{match[1]}"
        elif pcr and (match := _PCR_EQUAL.fullmatch(line)):
            found.setdefault(pcr, []).append(match[1])
    if not found or _render(found) != text:
        raise wrong("ita: not a policy as it is exported here")
    return flat_digests(
        {
            (register, "sha256" if register in PCRS else "sha384"): [bytes.fromhex(one) for one in values]
            for register, values in found.items()
        }
    )


def _render(found: dict[str, list[str]]) -> str:
    lines = ["import rego.v1", "", "default match := false", "", "match if {"]
    lines.append("    input.tdx.tdx_is_debuggable == false")
    lines += [f"    {_rule(register)}" for register in found]
    lines.append("}")
    for register, values in found.items():
        for value in values:
            lines += ["", f"{_rule(register)} if {{", *_body(register, value), "}"]
    return "\n".join([*lines, ""])


def _rule(register: str) -> str:
    return f"is_{_CLAIMS.get(register, register.replace('.', '_'))}"


def _body(register: str, value: str) -> list[str]:
    if register in _CLAIMS:
        return [f'    input.tdx.{_CLAIMS[register]} == "{value}"']
    return [
        "    pcr := input.tpm.pcrs[_]",
        '    pcr.alg == "SHA-256"',
        f"    pcr.index == {int(register[-2:])}",
        f'    pcr.digest == "{value}"',
    ]


FORMAT = Format(
    name="ita",
    title="a policy of Intel Trust Authority (Rego, version 2) for TDs, with or without a vTPM",
    file="ita-policy.rego",
    media="text/plain",
    encode=ita,
    decode=read_ita,
    recognise=lambda data, parsed: parsed is None and data.startswith(b"import rego.v1\n\ndefault match"),
    heeds=frozenset({"boot", "evidence"}),
)
