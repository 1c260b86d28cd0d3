"""The dated steps of a boot, from the TPM's traffic and the console, and what the guest reports. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from podvm_builder.model.boot import Extend, SelftestLine, Stage

_SUBJECTS: Mapping[str, str] = {
    "partition table": "the firmware reads the disk",
    "UKI": "the firmware loads the UKI",
    "kernel in section .linux": "the stub starts the kernel",
    "initrd": "the kernel has its initrd",
    "exit of boot services": "the kernel takes over",
}
"""Events of the predicted log that are worth a date, by their subject."""
_PHASE = "phase "
_FIRST_OF_PCR: Mapping[int, str] = {
    8: "the guest measures its init data (PCR 8)",
    11: "the stub measures the UKI's sections",
}

_SELFTEST = re.compile(r"(PASS|FAIL) ([a-z0-9-]{1,64}): ([ -~]{1,256})")


def selftest_lines(said: str) -> tuple[SelftestLine, ...]:
    """Read the report that the selftest components give on the forwarder's port; anything else is no report."""
    matches = (_SELFTEST.fullmatch(line) for line in said.splitlines())
    return tuple(
        SelftestLine(passed=match[1] == "PASS", component=match[2], what=match[3]) for match in matches if match
    )


def timeline(extends: Sequence[Extend], milestones: Mapping[str, float], up: float | None) -> tuple[Stage, ...]:
    """Return a boot's steps by time.

    Args:
        extends: labelled with the predicted log's subjects, so that the loaded programs have names.
        milestones: of the console, by name.
        up: when the forwarder answered, if it did.
    """
    stages = [*_from_tpm(extends)]
    stages += [Stage(seconds=seconds, source="console", what=name) for name, seconds in milestones.items()]
    if up is not None:
        stages.append(Stage(seconds=up, source="network", what="the forwarder answers"))
    return tuple(sorted(stages, key=lambda stage: stage.seconds))


def _from_tpm(extends: Sequence[Extend]) -> Iterable[Stage]:
    seen: set[int] = set()
    for number, extend in enumerate(extends):
        what = _SUBJECTS.get(extend.subject or "")
        if number == 0:
            what = "the firmware starts to measure"
        elif extend.subject is not None and extend.subject.startswith(_PHASE):
            what = f"systemd: {extend.subject}"
        elif extend.pcr in _FIRST_OF_PCR and extend.pcr not in seen:
            what = _FIRST_OF_PCR[extend.pcr]
        seen.add(extend.pcr)
        if what is not None:
            yield Stage(seconds=extend.seconds, source="tpm", what=what)
