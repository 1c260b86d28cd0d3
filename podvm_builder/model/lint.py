"""What linting finds in an image, and what was decided about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True, kw_only=True)
class LintFinding:
    """One thing that should not be so."""

    code: str
    """Of the rule, e.g. ``PVB821``; it has a page."""
    rule: str
    """Name of the rule, e.g. ``setuid``."""
    place: str
    """What it is about: a path in the image with its leading slash, ``kernel command line``, ``initrd`` or ``disk``."""
    message: str
    """One sentence without a full stop."""
    mend: str
    """What to do about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """A decision of the profile's that a finding is right as it is."""

    code: str
    path: str
    """Shell pattern over the finding's place; ``*`` stands for all, slashes included."""
    reason: str

    def covers(self, finding: LintFinding) -> bool:
        """Return whether the decision is about this finding."""
        return finding.code == self.code and fnmatchcase(finding.place, self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Excused:
    """A finding that does not count, and why."""

    finding: LintFinding
    reason: str
    by: str
    """Who says so: ``profile``, ``variant debug`` or ``feature sftp``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LintReport:
    """What came of linting one subject."""

    subject: str
    """What was looked at, as the user named it."""
    kind: str
    """``image``, ``recipe`` or ``tree``."""
    target: str | None
    """None where it is not known."""
    findings: tuple[LintFinding, ...] = ()
    excused: tuple[Excused, ...] = ()
    unused: tuple[Suppression, ...] = ()
    """Suppressions that nothing was found for."""
    unchecked: tuple[tuple[str, str], ...] = field(default=())
    """Rules that could not be applied, and why."""
    checked: int = 0
    """Rules that were applied."""
