"""The lint of every build: an image that has findings is not put into the output folder."""

from __future__ import annotations

from pathlib import Path

from podvm_builder.errors import Finding
from podvm_builder.formats.compression import Unsupported
from podvm_builder.lint.known import own_knowledge
from podvm_builder.lint.opening import about_plan, image_subject
from podvm_builder.lint.run import lint
from podvm_builder.model.layout import RAW
from podvm_builder.model.lint import LintReport
from podvm_builder.model.plan import Plan
from podvm_builder.report.lint import count
from podvm_builder.report.text import printable
from podvm_builder.tools.files import FileReader

_SHOWN = 20
"""Findings that a message lists; more than that have one cause, as a rule."""


def lint_build(plan: Plan, folder: Path) -> LintReport:
    """Look into the image of a plan.

    Raises:
        Finding: PVB800, it has findings that the profile does not suppress.
        FormatError: PVB200 and others, mkosi made an image that is damaged.
    """
    with FileReader(folder / RAW) as disk:
        try:
            subject = image_subject(str(plan.target), disk, about_plan(plan))
        except Unsupported as error:
            return LintReport(
                subject=str(plan.target), kind="image", target=str(plan.target), unchecked=(("all", str(error)),)
            )
        report = lint(subject, own_knowledge(), target=str(plan.target), suppressions=plan.suppressions)
    if report.findings:
        lines = [f"{one.code} {one.message}; {one.mend}" for one in report.findings[:_SHOWN]]
        if len(report.findings) > _SHOWN:
            lines.append(f"and {len(report.findings) - _SHOWN} more")
        raise Finding(
            f"the image of `{plan.target}` has {count(len(report.findings), 'lint finding')}:"
            + "".join(f"\n  | {printable(line)}" for line in lines),
            code="PVB800",
            hint="mend them, or suppress what is right in the profile; `podvm-build explain CODE` says more",
        )
    return report
