"""What Trustee's default attestation policies compare, by evidence type and version, as rules.

The tables restate in our own terms what ``ear_default_policy_cpu.rego`` of Trustee 0.12 to 0.21 reads: which claim,
with which reference value, in which JSON type. What differs between versions is a span on a rule or a comparison.
Nothing is here that is not confirmed for its span:

- ``snp`` and ``tdx`` from 0.12 on, in the types of each version;
- ``tpm`` and ``sample`` from 0.16 on;
- ``az-snp-vtpm`` and ``az-tdx-vtpm`` from 0.20 on: before, the policy looked for Azure's evidence under another key;
- ``se`` only as far as that the policy believes its verifier (0.20 on), ``cca`` as far as that there is no rule.

One more rule of TDX gives "executables" 3 instead of 4 where the digests of a kernel and a command line that the VMM
hands to the firmware are equal to ``tdvfkernel`` and ``tdvfkernelparams``. It is left out: both values affirm, and the
registers are compared all the same.
"""

from __future__ import annotations

from podvm_builder.model.refvalue import Scalar
from podvm_builder.refvalues.rules import Check, Encoding, Op, Policy, Rule
from podvm_builder.refvalues.versions import FIRST, LAST, Version

PCR_ALONE = (
    "the policy compares PCR 11 alone, which another system can extend to the same value; "
    "one that also compares PCR 4, such as `--policy extended`, tells them apart"
)
"""Whoever runs in the guest may extend a PCR. PCR 11 is zero until the UKI's stub extends it, so another system can
reach the same value with the same digests; PCR 4 was extended by the firmware before that system ran."""
_AZURE_BEFORE = "its default policy looks for it under another key and never finds it"
_UNCONFIRMED = "what its default policy reads of it is not confirmed"


def literal(claim: str, value: Scalar, *, since: Version = FIRST, until: Version = LAST) -> Check:
    """Return a comparison with a literal of the policy."""
    return Check(claim=claim, op=Op.IS, literal=value, since=since, until=until)


def of_register(claim: str, name: str, register: str, alg: str = "sha256", fact: str = "") -> Check:
    """Return the membership of a hex claim that a register says."""
    return Check(claim=claim, name=name, register=register, alg=alg, fact=fact)


_TCB = (
    ("reported_tcb_bootloader", "bootloader", "snp_bootloader"),
    ("reported_tcb_microcode", "microcode", "snp_microcode"),
    ("reported_tcb_snp", "snp", "snp_firmware"),
    ("reported_tcb_tee", "tee", "snp_tee"),
)
_SNP_TCB_NAMES = {
    "bootloader": "snp_bootloader",
    "microcode": "snp_microcode",
    "snp": "snp_snp_svn",
    "tee": "snp_tee_svn",
}
_CONFIGURATION = (
    ("platform_smt_enabled", "smt_enabled", "snp_smt"),
    ("platform_tsme_enabled", "tsme_enabled", "snp_tsme"),
    ("policy_abi_major", "abi_major", "abi_major"),
    ("policy_abi_minor", "abi_minor", "abi_minor"),
    ("policy_single_socket", "single_socket", "single_socket"),
    ("policy_smt_allowed", "smt_allowed", "smt_allowed"),
)
_SNP_CONFIGURATION_NAMES = {
    **{name: f"snp_{name}" for _, name, _ in _CONFIGURATION},
    "abi_major": "snp_guest_abi_major",
    "abi_minor": "snp_guest_abi_minor",
}
_NOT_DEBUG = (
    literal("policy_debug_allowed", value=False, since=(0, 14)),
    literal("policy_migrate_ma", value=False, since=(0, 14)),
    # until 0.13 the claims are texts and the policy compares numbers with them: it never holds
    literal("policy_debug_allowed", value=0, until=(0, 13)),
    literal("policy_migrate_ma", value=0, until=(0, 13)),
)


def _configuration(*, typed: bool, text: bool, names: dict[str, str]) -> tuple[Check, ...]:
    """Return the comparisons of SNP's configuration: typed scalars from 0.14 on, and lists of text."""
    found: list[Check] = []
    for claim, name, fact in _CONFIGURATION:
        number = name.startswith("abi_")
        if text:
            encoding = Encoding.DECIMAL if number else Encoding.BOOLEAN_TEXT
            until = (0, 13) if typed else (0, 21)
            found.append(Check(claim=claim, name=names[name], encoding=encoding, fact=fact, until=until))
        if typed:
            encoding = Encoding.NUMBER if number else Encoding.BOOLEAN
            found.append(Check(claim=claim, op=Op.EQUAL, name=names[name], encoding=encoding, fact=fact, since=(0, 14)))
    return tuple(found)


_SNP = Policy(
    evidence="snp",
    rules=(
        Rule(
            part="executables",
            value=3,
            checks=(
                # 0.12 reads a claim that no verifier sends (trustee#780)
                Check(
                    claim="launch_measurement",
                    name="snp_launch_measurement",
                    encoding=Encoding.BASE64,
                    register="snp.launch_digest",
                    alg="sha384",
                    fact="snp_launch_digest",
                    until=(0, 12),
                ),
                Check(
                    claim="measurement",
                    name="snp_launch_measurement",
                    encoding=Encoding.BASE64,
                    register="snp.launch_digest",
                    alg="sha384",
                    fact="snp_launch_digest",
                    since=(0, 13),
                    until=(0, 17),
                ),
                Check(
                    claim="measurement",
                    name="snp_launch_measurement",
                    register="snp.launch_digest",
                    alg="sha384",
                    fact="snp_launch_digest",
                    since=(0, 18),
                ),
            ),
        ),
        Rule(
            part="hardware",
            value=2,
            checks=tuple(
                Check(
                    claim=claim,
                    name=_SNP_TCB_NAMES[name],
                    encoding=encoding,
                    fact=fact,
                    since=since,
                    until=until,
                )
                for encoding, since, until in (
                    (Encoding.DECIMAL, (0, 12), (0, 13)),
                    (Encoding.NUMBER, (0, 14), (0, 21)),
                )
                for claim, name, fact in _TCB
            ),
        ),
        Rule(
            part="configuration",
            value=2,
            checks=(*_NOT_DEBUG, *_configuration(typed=True, text=True, names=_SNP_CONFIGURATION_NAMES)),
        ),
        Rule(part="configuration", value=3, checks=_NOT_DEBUG),
    ),
)

QUOTE = (
    literal("quote.header.tee_type", "81000000"),
    literal("quote.header.vendor_id", "939a7233f79c4ca9940a0db3957f0607"),
)
"""A quote of a trust domain, signed by Intel's quoting enclave."""
_RTMRS = (
    of_register("quote.body.rtmr_1", "rtmr_1", "tdx.rtmr1", "sha384"),
    of_register("quote.body.rtmr_2", "rtmr_2", "tdx.rtmr2", "sha384"),
)
_MRTD = of_register("quote.body.mr_td", "mr_td", "tdx.mrtd", "sha384", fact="tdx_mrtd")
_XFAM = Check(claim="quote.body.xfam", name="xfam", fact="tdx_xfam")

_TDX = Policy(
    evidence="tdx",
    rules=(
        Rule(part="executables", value=3, checks=_RTMRS, until=(0, 13)),
        Rule(part="executables", value=4, checks=_RTMRS, since=(0, 14)),
        Rule(
            part="hardware",
            value=2,
            checks=(
                *QUOTE,
                Check(claim="quote.body.mr_seam", name="mr_seam", fact="tdx_mrseam", until=(0, 18)),
                Check(claim="quote.body.tcb_svn", name="tcb_svn", fact="tdx_tcb_svn", until=(0, 18)),
                _MRTD,
                literal("tcb_status", "UpToDate", since=(0, 14)),
                literal("collateral_expiration_status", "0", since=(0, 14)),
            ),
        ),
        Rule(part="configuration", value=2, checks=(literal("td_attributes.debug", value=False), _XFAM)),
    ),
)

AZ_SNP_MEASUREMENT = Check(
    claim="measurement",
    name="measurement",
    encoding=Encoding.BASE64,
    register="snp.launch_digest",
    alg="sha384",
    fact="snp_launch_digest",
)
_AZ_SNP = Policy(
    evidence="az-snp-vtpm",
    rules=(
        Rule(
            part="executables",
            value=3,
            checks=(AZ_SNP_MEASUREMENT, of_register("tpm.pcr11", "snp_pcr11", "tpm.pcr11")),
        ),
        Rule(
            part="hardware",
            value=2,
            checks=tuple(
                Check(claim=claim, name=f"tcb_{name}", encoding=Encoding.DECIMAL, fact=fact)
                for claim, name, fact in _TCB
            ),
        ),
        Rule(
            part="configuration",
            value=2,
            checks=_configuration(typed=False, text=True, names={name: name for _, name, _ in _CONFIGURATION}),
        ),
    ),
    cautions=(PCR_ALONE, "the policy does not compare whether the guest may be debugged"),
    since=(0, 20),
    before=_AZURE_BEFORE,
)
_AZ_TDX = Policy(
    evidence="az-tdx-vtpm",
    rules=(
        Rule(part="executables", value=3, checks=(of_register("tpm.pcr11", "tdx_pcr11", "tpm.pcr11"),)),
        Rule(part="hardware", value=2, checks=(*QUOTE, _MRTD, literal("tcb_status", "UpToDate"))),
        Rule(part="configuration", value=2, checks=(_XFAM,)),
    ),
    cautions=(PCR_ALONE, "the policy does not compare whether the guest may be debugged"),
    since=(0, 20),
    before=_AZURE_BEFORE,
)
PRESENT = (Rule(part="hardware", value=2, checks=()), Rule(part="configuration", value=0, checks=()))
TPM_PCR11 = of_register("pcr11", "tpm_pcr11", "tpm.pcr11")
_TPM = Policy(
    evidence="tpm",
    rules=(
        Rule(
            part="executables",
            value=3,
            checks=(
                TPM_PCR11,
                Check(claim="ak_public", name="trusted_aks", encoding=Encoding.TEXT, fact="tpm_ak", since=(0, 20)),
            ),
        ),
        *PRESENT,
    ),
    cautions=(PCR_ALONE,),
    since=(0, 16),
    before=_UNCONFIRMED,
)
_SE = Policy(
    evidence="se",
    rules=tuple(
        Rule(part=part, value=value, checks=(), since=(0, 20))
        for part, value in (("executables", 3), ("hardware", 2), ("configuration", 2))
    ),
    cautions=("the policy believes Trustee's verifier, which takes any image whose host key it has",),
)
_CCA = Policy(evidence="cca", rules=(), cautions=("the default policy has no rule for CCA; write one of your own",))
_SAMPLE = Policy(
    evidence="sample",
    rules=(
        Rule(
            part="executables",
            value=3,
            checks=(
                Check(claim="launch_digest", name="launch_digest", encoding=Encoding.TEXT, fact="sample_launch_digest"),
            ),
        ),
        Rule(
            part="hardware",
            value=2,
            checks=(
                Check(claim="svn", name="svn", encoding=Encoding.NUMBER, fact="sample_svn"),
                Check(
                    claim="platform_version.major",
                    op=Op.EQUAL,
                    name="major_version",
                    encoding=Encoding.NUMBER,
                    fact="sample_major",
                ),
                Check(
                    claim="platform_version.minor",
                    op=Op.AT_LEAST,
                    name="minimum_minor_version",
                    encoding=Encoding.NUMBER,
                    fact="sample_minor",
                ),
            ),
        ),
        Rule(part="configuration", value=2, checks=(literal("debug", value=False),)),
    ),
    cautions=("the sample attester proves nothing: it is for trying Trustee out",),
    since=(0, 16),
    before=_UNCONFIRMED,
)

DEFAULT: dict[str, Policy] = {one.evidence: one for one in (_SNP, _TDX, _AZ_SNP, _AZ_TDX, _TPM, _SE, _CCA, _SAMPLE)}
"""Trustee's own default policy, by evidence type."""
