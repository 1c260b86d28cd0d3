"""What Trustee's default attestation policy asks for, by evidence type and version.

The table restates ``ear_default_policy_cpu.rego`` of Trustee 0.19 to 0.21: the names it passes to
``query_reference_value``, the claim each is compared with, the encoding of that claim, and whether the policy
tests membership (the value must be an array; a bare string never matches) or equality (the value must be a
scalar; an array never matches). A name is here only where an image or its firmware decides the value; those
that the platform decides are listed by name, so that a user can be told of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from podvm_builder.errors import InputError

NEWEST = "0.21"
SUPPORTED = ("0.19", "0.20", "0.21")
_AZURE_FROM = "0.20"
_VERSION = re.compile(r"v?(\d+\.\d+)(?:\.\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyName:
    """One reference value that the default policy compares with a measured claim by membership."""

    name: str
    register: str
    alg: str
    """Bank or algorithm of the register that the claim carries."""
    encoding: str = "hex"
    """``hex``, lower case, or ``base64``, the standard alphabet with padding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRules:
    """What the default policy reads for one evidence type."""

    measured: tuple[PolicyName, ...]
    platform: tuple[str, ...]
    """Names whose value the machine, its processor's firmware or its owner decides; none is exported."""
    caution: str | None = None
    """What the policy does not catch, however well its values are filled in."""


# Whoever runs in the guest may extend a PCR. PCR 11 is zero until the UKI's stub extends it, so another system can
# reach the same value with the same digests; PCR 4 was extended by the firmware before that system ran.
_PCR11_ALONE = (
    "Trustee's default policy reads PCR 11 alone, which another system can extend to the same value; "
    "a policy of your own that also compares PCR 4 tells them apart"
)
_SNP_TCB = ("snp_bootloader", "snp_microcode", "snp_snp_svn", "snp_tee_svn")
_SNP_CONFIGURATION = (
    "snp_smt_enabled",
    "snp_tsme_enabled",
    "snp_guest_abi_major",
    "snp_guest_abi_minor",
    "snp_single_socket",
    "snp_smt_allowed",
)
_AZ_SNP_PLATFORM = (
    "tcb_bootloader",
    "tcb_microcode",
    "tcb_snp",
    "tcb_tee",
    "smt_enabled",
    "tsme_enabled",
    "abi_major",
    "abi_minor",
    "single_socket",
    "smt_allowed",
)

RULES: dict[str, PolicyRules] = {
    "snp": PolicyRules(
        measured=(PolicyName(name="snp_launch_measurement", register="snp.launch_digest", alg="sha384"),),
        platform=_SNP_TCB + _SNP_CONFIGURATION,
    ),
    "tdx": PolicyRules(
        measured=(
            PolicyName(name="mr_td", register="tdx.mrtd", alg="sha384"),
            PolicyName(name="rtmr_1", register="tdx.rtmr1", alg="sha384"),
            PolicyName(name="rtmr_2", register="tdx.rtmr2", alg="sha384"),
        ),
        platform=("xfam",),
    ),
    "az-snp-vtpm": PolicyRules(
        measured=(
            PolicyName(name="measurement", register="snp.launch_digest", alg="sha384", encoding="base64"),
            PolicyName(name="snp_pcr11", register="tpm.pcr11", alg="sha256"),
        ),
        platform=_AZ_SNP_PLATFORM,
        caution=_PCR11_ALONE,
    ),
    "az-tdx-vtpm": PolicyRules(
        measured=(
            PolicyName(name="mr_td", register="tdx.mrtd", alg="sha384"),
            PolicyName(name="tdx_pcr11", register="tpm.pcr11", alg="sha256"),
        ),
        platform=("xfam",),
        caution=_PCR11_ALONE,
    ),
    "tpm": PolicyRules(
        measured=(PolicyName(name="tpm_pcr11", register="tpm.pcr11", alg="sha256"),),
        platform=("trusted_aks",),
        caution=_PCR11_ALONE,
    ),
}


def policy_rules(evidence: str, trustee: str = NEWEST) -> PolicyRules:
    """Return what Trustee's default policy of a version reads for an evidence type.

    Args:
        evidence: ``snp``, ``tdx``, ``az-snp-vtpm``, ``az-tdx-vtpm`` or ``tpm``.
        trustee: version as ``0.21``, ``0.21.0`` or ``v0.21.0``.

    Raises:
        InputError: the version is not one whose names are confirmed here (PVB603), or there is no rule for
            the evidence type (PVB604).
    """
    version = _version(trustee)
    rules = RULES.get(evidence)
    if rules is None:
        said = f"there is no reference value for evidence `{evidence}`" if evidence else "the evidence type is not said"
        raise InputError(
            f"{said}; Trustee's default policy has names for {', '.join(f'`{name}`' for name in RULES)}",
            code="PVB604",
            hint=None if evidence else "`--evidence KIND` says what the machine will send to Trustee",
        )
    if evidence.startswith("az-") and _key(version) < _key(_AZURE_FROM):
        raise InputError(
            f"Trustee {version} reads no evidence of `{evidence}`: its default policy looks under another name",
            code="PVB603",
            hint=f"Trustee {_AZURE_FROM} mended that; update Trustee and say `--trustee {_AZURE_FROM}` or newer",
        )
    return rules


def _version(text: str) -> str:
    match = _VERSION.fullmatch(text)
    if match is None or match[1] not in SUPPORTED:
        raise InputError(
            f"reference values for Trustee `{text}` are not supported",
            code="PVB603",
            hint=f"{SUPPORTED[0]} to {SUPPORTED[-1]} read these names in these types; older ones differ in both",
        )
    return match[1]


def _key(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
