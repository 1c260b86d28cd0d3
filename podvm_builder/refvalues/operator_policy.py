"""What the default policy that the Trustee operator ships compares, as rules.

It differs from Trustee's own for Azure and TPMs. Confirmed for the operator 0.21.
"""

from __future__ import annotations

from podvm_builder.refvalues.default_policy import DEFAULT, PCR_ALONE, PRESENT, QUOTE, TPM_PCR11, literal, of_register
from podvm_builder.refvalues.rules import Policy, Rule
from podvm_builder.refvalues.versions import Version

SINCE: Version = (0, 21)
"""From when on what it reads is confirmed."""
_OPERATOR_PCRS = ("03", "08", "09", "11", "12")
_NO_PCR4 = (
    "the policy does not compare PCR 4, and does not compare the firmware under the vTPM; "
    "`--policy extended` compares PCR 4"
)


def _operator_pcrs(prefix: str) -> Rule:
    checks = tuple(
        of_register(
            f"tpm.pcr{index}",
            f"{prefix}_pcr{index}",
            f"tpm.pcr{index}",
            fact=f"tpm_pcr{index}" if index in {"03", "08"} else "",
        )
        for index in _OPERATOR_PCRS
    )
    return Rule(part="executables", value=3, checks=checks)


OPERATOR: dict[str, Policy] = {
    **DEFAULT,
    "az-snp-vtpm": Policy(
        evidence="az-snp-vtpm",
        rules=(
            _operator_pcrs("snp"),
            Rule(part="hardware", value=2, checks=()),
            Rule(part="configuration", value=2, checks=()),
        ),
        cautions=(_NO_PCR4,),
        since=SINCE,
    ),
    "az-tdx-vtpm": Policy(
        evidence="az-tdx-vtpm",
        rules=(
            _operator_pcrs("tdx"),
            Rule(part="hardware", value=2, checks=(*QUOTE, literal("tcb_status", "UpToDate"))),
            Rule(part="configuration", value=2, checks=()),
        ),
        cautions=(_NO_PCR4,),
        since=SINCE,
    ),
    "tpm": Policy(
        evidence="tpm",
        rules=(Rule(part="executables", value=3, checks=(TPM_PCR11,)), *PRESENT),
        cautions=(PCR_ALONE, "the policy does not compare the TPM's attestation key"),
    ),
}
"""The default policy that the Trustee operator ships, confirmed for 0.21: five PCRs of Azure's vTPM and nothing of the
firmware below it."""
