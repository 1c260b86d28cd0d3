"""Attestation policies in Rego, written out from rules.

Two kinds, both for package ``policy``, both giving ``trust_claims`` and, for versions that read them singly, each part:

- with literals: the accepted values stand in the policy, as one JSON object, and nothing is asked of the RVPS. A rule
  one of whose values is not known is left out, so that its part stays unrecognised;
- with the RVPS: the same comparisons, each asking for its reference value.

What a policy compares is :mod:`.extended_policy`'s matter; everything else of the evidence is the verifier's.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable

from podvm_builder.model.refvalue import ReferenceValues, Scalar
from podvm_builder.refvalues.records import bounded
from podvm_builder.refvalues.registry import OF_POLICY, ExportRequest, FlatMap, Format, wrong
from podvm_builder.refvalues.rules import PARTS, UNRECOGNISED, Check, Op, Policy, Rule
from podvm_builder.refvalues.versions import Version, show

_QUERY_SINCE: Version = (0, 16)
"""From when on a policy asks the RVPS by a function; before, all values stood in ``data.reference``."""
_UNSAID = ("file-system", "instance-identity", "runtime-opaque", "storage-opaque", "sourced-data")
_WIDTH = 110

Accepted = dict[str, list[Scalar]]


def rego(request: ExportRequest) -> bytes:
    """Return the policy for exactly this image."""
    values = request.values("extended")
    return render(request.rules("extended"), values, request.version, use_rvps=request.options.use_rvps).encode()


def render(policy: Policy, values: ReferenceValues, version: Version, *, use_rvps: bool) -> str:
    """Return a policy's text.

    Args:
        policy: its rules, already those of the version.
        values: what they are compared with.
        version: Trustee's.
        use_rvps: whether the values are asked of the RVPS.
    """
    accepted = {one.name: list(one.value) if isinstance(one.value, tuple) else [one.value] for one in values.values}
    rules = [rule for rule in policy.rules if use_rvps or _complete(rule, accepted)]
    lines = [
        *_comment(_header(values, version, use_rvps=use_rvps)),
        *_comment(_gaps(policy, rules, values, use_rvps=use_rvps)),
        "package policy",
        "",
        "import rego.v1",
        "",
    ]
    if not use_rvps:
        lines += [
            "# The values that a machine of this image may have, by the name of the reference value.",
            *f"accepted := {json.dumps(accepted, indent=2, ensure_ascii=True)}".splitlines(),
            "",
        ]
    for part in PARTS:
        lines += [f"default {part} := {UNRECOGNISED[part]}", ""]
        chain = [rule for rule in rules if rule.part == part]
        for index, rule in enumerate(chain):
            head = f"{part} := {rule.value} if {{" if index == 0 else f"}} else := {rule.value} if {{"
            lines.append(head)
            lines.append(f"\tinput[{json.dumps(policy.evidence)}]")
            lines += [f"\t{_compare(check, policy.evidence, version, use_rvps=use_rvps)}" for check in rule.checks]
        lines += ["}", ""] if chain else []
    claims = [*(f'\t"{part}": {part},' for part in PARTS), *(f'\t"{part}": 0,' for part in _UNSAID)]
    lines += ["trust_claims := {", *claims, "}"]
    return "\n".join(lines) + "\n"


def read_rego(data: bytes) -> FlatMap:
    """Read the values that a policy of ours accepts, or, of one that asks the RVPS, the names with null.

    Raises:
        FormatError: not a policy that was exported here (PVB607).
    """
    bounded(data, "rego")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise wrong(f"rego: not UTF-8: {error}") from error
    if not _is_rego(data, None):
        raise wrong("rego: not a policy that this program wrote")
    literal = re.search(r"^accepted := (\{.*?^\}|\{\})$", text, re.MULTILINE | re.DOTALL)
    if literal is not None:
        try:
            found = json.loads(literal[1])
        except (ValueError, RecursionError) as error:
            raise wrong(f"rego: `accepted`: not JSON: {error}") from error
        if not all(isinstance(value, list) for value in found.values()):
            raise wrong("rego: `accepted` holds something else than lists")
        return dict(found)
    names = re.findall(r'query_reference_value\("([^"\\]+)"\)|data\.reference\["([^"\\]+)"\]', text)
    return dict.fromkeys(first or second for first, second in names)


def _complete(rule: Rule, accepted: Accepted) -> bool:
    return all(check.name in accepted for check in rule.checks if check.name)


def _compare(check: Check, evidence: str, version: Version, *, use_rvps: bool) -> str:
    claim = f"input[{json.dumps(evidence)}]" + "".join(map(_step, check.claim.split(".")))
    if check.op is Op.IS:
        return f"{claim} == {json.dumps(check.literal)}"
    if not use_rvps:
        if check.op is Op.AT_LEAST:
            return f"{claim} >= accepted[{json.dumps(check.name)}][0]"
        return f"{claim} in accepted[{json.dumps(check.name)}]"
    name = json.dumps(check.name)
    value = f"query_reference_value({name})" if version >= _QUERY_SINCE else f"data.reference[{name}]"
    return f"{claim} {check.op} {value}"


def _step(key: str) -> str:
    if key.isdecimal():
        return f"[{key}]"
    return f".{key}" if re.fullmatch(r"[a-z_][a-z0-9_]*", key) else f"[{json.dumps(key)}]"


def _header(values: ReferenceValues, version: Version, *, use_rvps: bool) -> Iterable[str]:
    of = f"the image `{values.target}`" if values.target else "one image"
    yield f"Attestation policy for {of}, evidence `{values.evidence}`, Trustee {show(version)}."
    if use_rvps:
        yield "It extends Trustee's default policy and asks the RVPS for every value: register them as well."
    else:
        yield "It holds its values itself and asks nothing of the RVPS. A changed image needs a new policy."
    by = ", ".join(values.identified_by)
    yield f"Identifies the image: {f'by {by}' if by else 'no, any image passes'}."
    yield "What a pod is given in its initdata is not compared here."


def _gaps(policy: Policy, rules: list[Rule], values: ReferenceValues, *, use_rvps: bool) -> Iterable[str]:
    for part in PARTS:
        if not any(rule.part == part for rule in rules):
            names = [
                check.name
                for rule in policy.part(part)
                for check in rule.checks
                if check.name and check.name not in {one.name for one in values.values}
            ]
            yield f"`{part}` stays {UNRECOGNISED[part]}: {', '.join(dict.fromkeys(names)) or 'no rule'} not known."
    if values.platform:
        said = "registered by the platform's owner" if use_rvps else "facts to say for more of the trust vector"
        yield f"Not known, {said}: {', '.join(values.platform if use_rvps else values.wanted_facts)}."
    yield from (f"Not compared: {omission.name}: {omission.reason}." for omission in values.omitted)
    yield from (f"Caution: {caution}." for caution in values.cautions)


def _comment(paragraphs: Iterable[str]) -> list[str]:
    lines: list[str] = []
    for text in paragraphs:
        clean = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
        lines += [f"# {line}" for line in textwrap.wrap(clean, _WIDTH, subsequent_indent="  ", break_on_hyphens=False)]
    return [*lines, "#"] if lines else []


def _is_rego(data: bytes, parsed: object) -> bool:
    return parsed is None and re.search(rb"^package policy$", data, re.MULTILINE) is not None


FORMAT = Format(
    name="rego",
    title="an attestation policy for exactly this image; with `--use-rvps`, one that asks the RVPS for its values",
    file="attestation-policy.rego",
    media="text/plain",
    encode=rego,
    decode=read_rego,
    recognise=_is_rego,
    in_build=True,
    heeds=OF_POLICY | {"use_rvps"},
)
