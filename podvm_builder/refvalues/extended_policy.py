"""The policy that extends Trustee's default with what is worth comparing as well, for one image.

It keeps the default's rules and names and adds, each only where the measurements have a value:

- on a vTPM, PCR 4 (what the firmware started), 7 (secure boot), 9 (initrd and command line) and 12 (what was added to
  the UKI) of the SHA-256 bank besides PCR 11;
- Secure Execution's header tag and the hash of the image's host key; CCA's initial measurement and REMs;
- that neither debugging nor migration is allowed, also on Azure.

The launch digest of Azure's paravisor is compared as hardware, not as what the image runs.

A configuration that does not allow debugging is worth 3 ("no known vulnerabilities") where nothing else of it is known,
as the default has it for SNP.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from podvm_builder.model.fact import Facts
from podvm_builder.model.measurement import MeasurementSet
from podvm_builder.refvalues.default_policy import AZ_SNP_MEASUREMENT, PCR_ALONE, literal, of_register
from podvm_builder.refvalues.rules import Check, Encoding, Op, Policy, Rule
from podvm_builder.refvalues.versions import LAST

_PCRS = ("04", "07", "09", "12")
_PREFIX = {"az-snp-vtpm": ("snp", "tpm."), "az-tdx-vtpm": ("tdx", "tpm."), "tpm": ("tpm", "")}
"""Prefix of reference values' names and of claims, as the default's for PCR 11."""
# Azure's verifier writes booleans as text
_AZ_SNP_NOT_DEBUG = (
    literal("policy_debug_allowed", "false"),
    literal("policy_migrate_ma", "false"),
)
_TD_NOT_DEBUG = (literal("td_attributes.debug", value=False),)


def _realm(claim: str, name: str, register: str) -> Check:
    return Check(claim=f"realm.{claim}", name=name, encoding=Encoding.BASE64, register=register)


_SE = (
    Rule(part="executables", value=3, checks=(of_register("tag", "se_tag", "se.tag", alg=""),)),
    Rule(part="hardware", value=2, checks=(of_register("image_phkh", "se_image_phkh", "se.image_phkh", alg=""),)),
    Rule(part="configuration", value=2, checks=()),
)
_CCA_REMS = tuple(
    _realm(f"cca-realm-extensible-measurements.{index}", f"cca_rem{index}", f"cca.rem{index}") for index in range(4)
)
_CCA = (
    Rule(
        part="executables",
        value=3,
        checks=(_realm("cca-realm-initial-measurement", "cca_rim", "cca.rim"),),
    ),
    Rule(
        part="hardware",
        value=2,
        checks=(
            Check(
                claim="platform.cca-platform-implementation-id",
                name="cca_implementation",
                encoding=Encoding.TEXT,
                fact="cca_implementation",
            ),
        ),
    ),
    # the token's claims say nothing of the realm's configuration: no assertion
    Rule(part="configuration", value=0, checks=()),
)


def extended(default: Policy, measurements: MeasurementSet, facts: Facts) -> Policy:
    """Return the extended policy of one kind of evidence for one image.

    Args:
        default: Trustee's default policy, already that of one version.
        measurements: of the image; a register without a value is not compared.
        facts: of the machines; TCB statuses that are said take the place of the default's `UpToDate`.
    """
    valued = {(row.register, row.alg) for row in measurements.measurements if row.value is not None}
    valued |= {(register, "") for register, _ in valued}
    rules, cautions = default.rules, default.cautions
    match default.evidence:
        case "az-snp-vtpm" | "az-tdx-vtpm" | "tpm":
            prefix, at = _PREFIX[default.evidence]
            pcrs = [of_register(f"{at}pcr{n}", f"{prefix}_pcr{n}", f"tpm.pcr{n}") for n in _PCRS]
            rules = _also(_paravisor_to_hardware(rules), "executables", _known(pcrs, valued))
            if ("tpm.pcr04", "sha256") in valued:
                cautions = tuple(text for text in cautions if text != PCR_ALONE)
        case "snp":
            rules = tuple(replace(rule, checks=tuple(map(_as_sent, rule.checks))) for rule in rules)
        case "se":
            rules, cautions = _SE, ()
        case "cca":
            rules, cautions = _also(_CCA, "executables", _known(_CCA_REMS, valued)), ()
    if default.evidence == "az-snp-vtpm":
        rules = _not_debug(rules, _AZ_SNP_NOT_DEBUG)
    elif default.evidence in {"tdx", "az-tdx-vtpm"}:
        rules = _not_debug(_tcb_status(rules, facts), _TD_NOT_DEBUG)
    return replace(default, rules=rules, cautions=tuple(text for text in cautions if "may be debugged" not in text))


def _known(checks: Iterable[Check], valued: set[tuple[str, str]]) -> tuple[Check, ...]:
    return tuple(check for check in checks if (check.register, check.alg) in valued)


def _as_sent(check: Check) -> Check:
    """Compare what the verifier sends, where the default policy of an old version compares what it never does."""
    if check.claim == "launch_measurement":
        return replace(check, claim="measurement")
    return replace(check, literal="false") if check.op is Op.IS and check.literal == 0 and check.until < LAST else check


def _paravisor_to_hardware(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """Compare the launch digest of Azure's paravisor as what it is: the firmware below, and not the image."""
    without = tuple(
        replace(rule, checks=tuple(check for check in rule.checks if check != AZ_SNP_MEASUREMENT)) for rule in rules
    )
    return _also(without, "hardware", (AZ_SNP_MEASUREMENT,)) if without != rules else rules


def _tcb_status(rules: tuple[Rule, ...], facts: Facts) -> tuple[Rule, ...]:
    if "tdx_tcb_status" not in facts:
        return rules
    status = Check(claim="tcb_status", name="tdx_tcb_status", encoding=Encoding.TEXT, fact="tdx_tcb_status")
    return tuple(
        replace(rule, checks=tuple(status if check.claim == "tcb_status" else check for check in rule.checks))
        for rule in rules
    )


def _also(rules: tuple[Rule, ...], part: str, checks: tuple[Check, ...]) -> tuple[Rule, ...]:
    return tuple(replace(rule, checks=(*rule.checks, *checks)) if rule.part == part else rule for rule in rules)


def _not_debug(rules: tuple[Rule, ...], checks: tuple[Check, ...]) -> tuple[Rule, ...]:
    """Let each rule of the configuration hold only where debugging is off, and add one that asks no more."""
    own = {(check.claim, check.op) for check in checks}
    strict = tuple(
        replace(rule, checks=(*checks, *(check for check in rule.checks if (check.claim, check.op) not in own)))
        if rule.part == "configuration"
        else rule
        for rule in rules
    )
    return (*strict, Rule(part="configuration", value=3, checks=checks))
