"""The tables of ``docs/trustee.md``, from the rules, forms and facts that the program goes by."""

from __future__ import annotations

from podvm_builder.model.fact import FACTS
from podvm_builder.refvalues import FORMATS
from podvm_builder.refvalues.default_policy import DEFAULT
from podvm_builder.refvalues.facts import source
from podvm_builder.refvalues.operator_policy import OPERATOR
from podvm_builder.refvalues.rules import Check, Op, Policy, span
from podvm_builder.refvalues.versions import FIRST, LAST, Version


def forms() -> str:
    """Return the export formats."""
    lines = ["| `--to` | what |", "|---|---|"]
    for one in FORMATS.values():
        versions = span(one.since, one.until)
        lines.append(f"| `{one.name}` | {one.title}{f' ({versions})' if versions else ''} |")
    return "\n".join(lines)


def names() -> str:
    """Return the reference values that the default policies ask for."""
    lines = ["| evidence | name | type | from | versions |", "|---|---|---|---|---|"]
    for policy in DEFAULT.values():
        lines += _rows(policy, policy.evidence)
    lines += _rows(OPERATOR["az-snp-vtpm"], "`az-snp-vtpm`, operator")
    lines += _rows(OPERATOR["az-tdx-vtpm"], "`az-tdx-vtpm`, operator")
    return "\n".join(lines)


def facts() -> str:
    """Return the facts about machines."""
    lines = ["| fact | values | what |", "|---|---|---|"]
    for name, fact in FACTS.items():
        match fact.kind:
            case "number":
                values = f"numbers to {fact.size:#x}"
            case "hex":
                values = f"hex, {fact.size} bytes"
            case "base64":
                values = "base64"
            case _:
                values = ", ".join(f"`{word}`" for word in fact.words) or "text"
        said = "" if fact.profile else " (`--fact` only)"
        lines.append(f"| `{name}`{said} | {values} | {fact.title} |")
    return "\n".join(lines)


def _rows(policy: Policy, title: str) -> list[str]:
    """Return a row per name and way of comparing; what differs in the claim alone is one."""
    spans: dict[tuple[str, str, str], tuple[Version, Version]] = {}
    for rule in policy.rules:
        for check in rule.checks:
            if check.name:
                key = (check.name, _type(check), _from(check))
                since, until = max(policy.since, rule.since, check.since), min(rule.until, check.until)
                known = spans.get(key, (since, until))
                spans[key] = (min(known[0], since), max(known[1], until))
    title = title if "`" in title else f"`{title}`"
    rows = []
    for index, ((name, kind, origin), (since, until)) in enumerate(spans.items()):
        versions = span(since, until) or f"{span(FIRST, LAST) or 'all'}"
        rows.append(f"| {title if index == 0 else ''} | `{name}` | {kind} | {origin} | {versions} |")
    return rows


def _type(check: Check) -> str:
    if check.op is Op.IN:
        return f"list of {check.encoding}"
    return f"{check.encoding}, {'lowest' if check.op is Op.AT_LEAST else 'scalar'}"


def _from(check: Check) -> str:
    parts = [f"`{check.register}`"] if check.register else []
    if check.fact:
        parts.append(f"fact `{source(check.fact)}`")
    return ", or ".join(parts)
