"""A lint report as text, JSON, GitHub annotations and SARIF."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from podvm_builder import __version__
from podvm_builder.catalog.pages import error_page
from podvm_builder.model.lint import Excused, LintFinding, LintReport, Suppression
from podvm_builder.report.text import printable

SCHEMA = "podvm-lint/1"
SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def render_lint(report: LintReport) -> str:
    """Return the report for a reader: findings first, then what does not count and why."""
    lines: list[str] = []
    for finding in report.findings:
        lines += [
            f"{finding.code} {finding.rule}: {finding.message}",
            f"  --> {finding.place}",
            f"  mend: {finding.mend}",
        ]
    if report.excused:
        lines.append("not counted:")
        lines += [f"  {_excused(one)}" for one in report.excused]
    if report.unused:
        lines.append("suppressed, but not found:")
        lines += [f"  {one.code} {one.path}: {one.reason}" for one in report.unused]
    if report.unchecked:
        lines.append("not checked:")
        lines += [f"  {name}: {reason}" for name, reason in _grouped(report.unchecked)]
    lines.append(summary(report))
    return "\n".join(map(printable, lines))


def summary(report: LintReport) -> str:
    """Return the report in one line."""
    target = f" ({report.target})" if report.target else ""
    words = [count(len(report.findings), "finding")]
    if report.excused:
        words.append(f"{len(report.excused)} not counted")
    return f"{report.kind} {report.subject}{target}: {', '.join(words)}; {count(report.checked, 'rule')} applied"


def notes(report: LintReport) -> list[str]:
    """Return what a build says of a report without findings: what does not count, and what could not be looked at."""
    lines = [f"lint: not counted: {_excused(one)}" for one in report.excused]
    lines += [f"lint: suppressed, but not found: {one.code} {one.path}" for one in report.unused]
    lines += [f"lint: not checked: {name}: {reason}" for name, reason in report.unchecked]
    return list(map(printable, lines))


def lint_to_json(report: LintReport) -> dict[str, Any]:
    """Return the report as JSON values."""
    return {
        "schema": SCHEMA,
        "subject": report.subject,
        "kind": report.kind,
        "target": report.target,
        "findings": [_finding(one) for one in report.findings],
        "suppressed": [excused_to_json(one) for one in report.excused],
        "unused_suppressions": [suppression_to_json(one) for one in report.unused],
        "not_checked": [{"rule": name, "reason": reason} for name, reason in report.unchecked],
        "rules_applied": report.checked,
    }


def excused_to_json(one: Excused) -> dict[str, Any]:
    """Return a finding that does not count, with the reason and who gave it."""
    return {**_finding(one.finding), "reason": one.reason, "by": one.by}


def suppression_to_json(one: Suppression) -> dict[str, Any]:
    """Return a suppression as it stands in a profile."""
    return {"code": one.code, "path": one.path, "reason": one.reason}


def lint_to_github(reports: Sequence[LintReport]) -> str:
    """Return workflow commands, which GitHub shows as annotations.

    Specification: GitHub Actions, "Workflow commands": `%`, CR and LF are escaped in messages, `:` and `,` also in
    properties.
    """
    lines = []
    for report in reports:
        for finding in report.findings:
            title = f"{finding.code} {finding.rule}"
            lines.append(_command("error", title, f"{report.subject}: {finding.message}\nmend: {finding.mend}"))
        for one in report.excused:
            title = f"{one.finding.code} {one.finding.rule} (not counted)"
            text = f"{report.subject}: {one.finding.message}\n{one.by}: {one.reason}"
            lines.append(_command("notice", title, text))
        for unused in report.unused:
            text = f"{report.subject}: suppressed at {unused.path}, but not found: {unused.reason}"
            lines.append(_command("warning", f"{unused.code} (unused suppression)", text))
    return "\n".join(lines)


def lint_to_sarif(reports: Sequence[LintReport], rules: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """Return a log of SARIF 2.1.0 (OASIS), one run for all subjects.

    Args:
        reports: of one command.
        rules: of all rules by code, name and mend.
    """
    codes = sorted(rules)
    results = []
    for report in reports:
        results += [_result(report, finding, codes, ()) for finding in report.findings]
        results += [_result(report, one.finding, codes, (one,)) for one in report.excused]
    return {
        "$schema": SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "podvm-build",
                        "version": __version__,
                        "rules": [_rule(code, *rules[code]) for code in codes],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": results,
            }
        ],
    }


def _rule(code: str, name: str, mend: str) -> dict[str, Any]:
    page = error_page(code)
    title = page.title if page is not None else name
    body = page.body.strip() if page is not None else mend
    return {
        "id": code,
        "name": "".join(word.capitalize() for word in name.split("-")),
        "shortDescription": {"text": title},
        "fullDescription": {"text": body},
        "help": {"text": f"{mend}."},
        "defaultConfiguration": {"level": "error"},
    }


def _result(
    report: LintReport, finding: LintFinding, codes: Sequence[str], excused: Sequence[Excused]
) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": codes.index(finding.code),
        "level": "error",
        "message": {"text": f"{printable(finding.message)}. To mend: {finding.mend}."},
        "locations": [
            {
                "physicalLocation": {"artifactLocation": {"uri": _uri(report.subject)}},
                "logicalLocations": [{"fullyQualifiedName": finding.place, "kind": "resource"}],
            }
        ],
        "partialFingerprints": {"podvmLint/v1": f"{finding.code}:{finding.place}"},
    }
    if excused:
        result["suppressions"] = [{"kind": "external", "justification": f"{one.by}: {one.reason}"} for one in excused]
    return result


def _finding(finding: LintFinding) -> dict[str, Any]:
    return {
        "code": finding.code,
        "rule": finding.rule,
        "place": finding.place,
        "message": finding.message,
        "mend": finding.mend,
    }


def _excused(one: Excused) -> str:
    return f"{one.finding.code} {one.finding.rule}: {one.finding.message} ({one.by}: {one.reason})"


def _grouped(unchecked: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Tell rules that lack the same thing together."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in unchecked:
        by_reason.setdefault(reason, []).append(name)
    return [(", ".join(names[:12]) + (" …" if len(names) > 12 else ""), reason) for reason, names in by_reason.items()]


def _uri(path: str) -> str:
    """Return a path as a relative reference (RFC 3986): what is no character of a path is percent-encoded."""
    plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/"
    raw = path.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if chr(byte) in plain else f"%{byte:02X}" for byte in raw)


def _command(kind: str, title: str, message: str) -> str:
    data = "\n".join(map(printable, message.split("\n")))
    return f"::{kind} title={_escape(printable(title)).replace(':', '%3A').replace(',', '%2C')}::{_escape(data)}"


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def count(number: int, word: str) -> str:
    """Return a number of things in words."""
    return f"{number or 'no'} {word}{'' if number == 1 else 's'}"
