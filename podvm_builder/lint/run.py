"""Runs all rules over a subject, and sorts what they find by what the profile and the variant decided."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from podvm_builder.formats.compression import Unsupported
from podvm_builder.lint.known import Known
from podvm_builder.lint.rule import Rule
from podvm_builder.lint.subject import Need, Subject
from podvm_builder.lint.table import RULES
from podvm_builder.model.lint import Excused, LintFinding, LintReport, Suppression


def lint(
    subject: Subject,
    known: Known,
    *,
    target: str | None = None,
    suppressions: Iterable[Suppression] = (),
    rules: Sequence[Rule] = RULES,
) -> LintReport:
    """Apply the rules that the subject has all for.

    Args:
        subject: what to look at.
        known: what is known of clouds, TEEs and so on.
        target: what the subject is for, if that is known, for the report.
        suppressions: findings that the profile has decided to be right.
        rules: all of them, unless a test wants some.

    Raises:
        FormatError: the subject is damaged.
    """
    found: list[LintFinding] = []
    unchecked: list[tuple[str, str]] = []
    checked = 0
    for rule in rules:
        missing = sorted(rule.needs - subject.has)
        if missing:
            if Need.RECIPE not in missing:  # a rule about recipes is not missed elsewhere
                unchecked.append((rule.name, missing[0].value))
            continue
        try:
            hits = sorted(set(rule.check(subject, known)))
        except Unsupported as error:
            unchecked.append((rule.name, f"cannot be read here: {error}"))
            continue
        checked += 1
        found += [
            LintFinding(code=rule.code, rule=rule.name, place=place, message=message, mend=rule.mend)
            for place, message in hits
        ]
    unread = subject.files.unread if subject.files is not None else {}
    unchecked += [(f"/{path}", f"cannot be read here: {reason}") for path, reason in sorted(unread.items())]
    given = tuple(suppressions)
    allowed = tuple(_allowed(subject, known))
    excused = [one for one in (_excuse(finding, given, allowed) for finding in found) if one is not None]
    covered = {one.finding for one in excused}
    return LintReport(
        subject=subject.name,
        kind=subject.kind,
        target=target,
        findings=tuple(finding for finding in found if finding not in covered),
        excused=tuple(excused),
        unused=tuple(one for one in given if not any(one.covers(finding) for finding in found)),
        unchecked=tuple(unchecked),
        checked=checked,
    )


def _allowed(subject: Subject, known: Known) -> Iterator[tuple[str, Suppression]]:
    """Yield what the variant or a feature allows by its nature, and who says so."""
    variant = known.catalogue.variants.get(subject.about.variant)
    rows = [] if variant is None else [("variant", variant)]
    rows += [
        ("feature", known.catalogue.features[name])
        for name in subject.about.features
        if name in known.catalogue.features
    ]
    for word, row in rows:
        for entry in row.lint_allows:
            code, _, path = entry.partition(" ")
            yield f"{word} {row.name}", Suppression(code=code, path=path or "*", reason=row.title)


def _excuse(
    finding: LintFinding, suppressions: Sequence[Suppression], allowed: Sequence[tuple[str, Suppression]]
) -> Excused | None:
    for by, one in (*allowed, *(("profile", one) for one in suppressions)):
        if one.covers(finding):
            return Excused(finding=finding, reason=one.reason, by=by)
    return None
