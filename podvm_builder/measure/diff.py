"""Two sets of measurements side by side: which register moved, where it parted, and which input moved it.

Registers are matched by name, algorithm and variant; where variants differ and one row is left on each side, the
difference of the variants is itself the cause. The events of a log say which part of the image moved a register, and
the manifests of built images say which packages and files stand behind it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from podvm_builder.measure.explain import events_of, log_of
from podvm_builder.model.event import Event
from podvm_builder.model.manifest import ImageManifest
from podvm_builder.model.measurement import Measurement, MeasurementSet
from podvm_builder.model.region import Region

MOVED = "moved"
STATUS = "status"
ONLY_LEFT = "only-left"
ONLY_RIGHT = "only-right"

_UKI = ("UKI", "kernel in section .linux")
_SECTION = "section "
_CAUSES: Mapping[str, tuple[str, ...]] = {
    "command line": (".cmdline",),
    "initrd": (".initrd", ".osrel", ".ucode", ".pcrpkey", ".pcrsig", ".profile"),
    "kernel in section .linux": (".linux",),
}
"""Sections that an event's digest covers, by its subject."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstChange:
    """The first event or region in which a register's two sides part."""

    index: int
    left: str | None
    """Subject of the event or source of the region; None where this side has no further one."""
    right: str | None
    left_digest: bytes | None
    right_digest: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterChange:
    """One register that is not the same."""

    register: str
    alg: str
    kind: str
    """:data:`MOVED` (another value), :data:`STATUS` (known on one side alone), or on one side only."""
    left: Measurement | None
    right: Measurement | None
    first: FirstChange | None
    causes: tuple[str, ...]
    """What moved it, in words: a section, the partition table, an option, a firmware."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputChange:
    """One recorded input of the builds that is not the same."""

    kind: str
    """``package``, ``component``, ``file``, ``option``, ``tool``, ``root``."""
    name: str
    left: str | None
    right: str | None


def diff_measurements(left: MeasurementSet, right: MeasurementSet) -> tuple[RegisterChange, ...]:
    """Return the registers that differ, in the order of the left side and then of the right."""
    sections = _moved_sections(left, right)
    return tuple(
        change
        for one, other in _pairs(left.measurements, right.measurements)
        if (change := _change(left, right, one, other, sections)) is not None
    )


def diff_manifests(left: ImageManifest, right: ImageManifest) -> tuple[InputChange, ...]:
    """Return the recorded inputs that differ: what may stand behind a register that moved."""
    tables: list[tuple[str, Mapping[str, str], Mapping[str, str]]] = [
        ("option", _options(left), _options(right)),
        ("root", {"hash": left.root_hash}, {"hash": right.root_hash}),
        ("package", _packages(left), _packages(right)),
        ("component", _components(left), _components(right)),
        ("tool", left.tools, right.tools),
        ("file", _files(left), _files(right)),
    ]
    return tuple(
        InputChange(kind=kind, name=name, left=ours.get(name), right=theirs.get(name))
        for kind, ours, theirs in tables
        for name in dict.fromkeys((*ours, *theirs))
        if ours.get(name) != theirs.get(name)
    )


def _pairs(
    left: Sequence[Measurement], right: Sequence[Measurement]
) -> Iterator[tuple[Measurement | None, Measurement | None]]:
    """Match rows: first those with the same variant, then what is left of a register if it is one row on each side."""
    rest = list(right)
    unmatched: list[Measurement] = []
    for row in left:
        same = next((other for other in rest if _key(other) == _key(row)), None)
        if same is None:
            unmatched.append(row)
        else:
            rest.remove(same)
            yield row, same
    for row in unmatched:
        ours = [other for other in unmatched if (other.register, other.alg) == (row.register, row.alg)]
        theirs = [other for other in rest if (other.register, other.alg) == (row.register, row.alg)]
        if len(ours) == len(theirs) == 1:
            rest.remove(theirs[0])
            yield row, theirs[0]
        else:
            yield row, None
    yield from ((None, row) for row in rest)


def _key(row: Measurement) -> tuple[object, ...]:
    return (row.register, row.alg, *sorted((key, str(value)) for key, value in row.variant.items()))


def _change(
    left: MeasurementSet,
    right: MeasurementSet,
    one: Measurement | None,
    other: Measurement | None,
    sections: Sequence[str],
) -> RegisterChange | None:
    if one is None or other is None:
        row = one or other
        assert row is not None  # noqa: S101 - a pair has at least one side
        kind = ONLY_LEFT if other is None else ONLY_RIGHT
        return RegisterChange(
            register=row.register, alg=row.alg, kind=kind, left=one, right=other, first=None, causes=()
        )
    if (one.value, one.status) == (other.value, other.status):
        return None
    options = [
        f"{name}: {one.variant.get(name, 'none')} -> {other.variant.get(name, 'none')}"
        for name in dict.fromkeys((*one.variant, *other.variant))
        if one.variant.get(name) != other.variant.get(name)
    ]
    first, moved = _compare(left, right, one, other, sections)
    return RegisterChange(
        register=one.register,
        alg=one.alg,
        kind=STATUS if one.value is None or other.value is None else MOVED,
        left=one,
        right=other,
        first=first,
        causes=tuple(dict.fromkeys((*options, *moved))),
    )


def _compare(
    left: MeasurementSet, right: MeasurementSet, one: Measurement, other: Measurement, sections: Sequence[str]
) -> tuple[FirstChange | None, list[str]]:
    """Return the first difference of what two rows are the fold of, and the causes that the differences name."""
    if one.origin is not None and one.origin[0] == "regions":
        name = other.origin[1] if other.origin is not None else ""
        return _compare_regions(left.regions.get(one.origin[1], ()), right.regions.get(name, ()))
    ours = events_of(one.register, log_of(left, one))
    theirs = events_of(other.register, log_of(right, other))
    first: FirstChange | None = None
    causes: list[str] = []
    for index in range(max(len(ours), len(theirs))):
        event = ours[index] if index < len(ours) else None
        against = theirs[index] if index < len(theirs) else None
        if event is not None and against is not None and event.digests.get(one.alg) == against.digests.get(one.alg):
            continue
        first = first or FirstChange(
            index=index,
            left=event.subject if event else None,
            right=against.subject if against else None,
            left_digest=event.digests.get(one.alg) if event else None,
            right_digest=against.digests.get(one.alg) if against else None,
        )
        causes += _causes(event, against, sections)
    return first, causes


def _causes(event: Event | None, against: Event | None, sections: Sequence[str]) -> Iterator[str]:
    """Name the inputs behind two events that differ."""
    if event is None or against is None:
        present = event or against
        assert present is not None  # noqa: S101 - one side has an event
        side = "left" if against is None else "right"
        yield f"{present.subject} is measured on the {side} alone"
        return
    subject = event.subject
    if subject != against.subject:
        yield f"{subject} -> {against.subject}"
    elif subject in _CAUSES or subject in _UKI:
        covered = [name for name in sections if name in _CAUSES.get(subject, sections)]
        yield from (_SECTION + name for name in covered)
        if not covered:
            yield f"{subject}, outside the sections that are measured on their own"
    else:
        yield subject.removeprefix("name of ")


def _compare_regions(left: Sequence[Region], right: Sequence[Region]) -> tuple[FirstChange | None, list[str]]:
    first: FirstChange | None = None
    causes: list[str] = []
    for index in range(max(len(left), len(right))):
        one = left[index] if index < len(left) else None
        other = right[index] if index < len(right) else None
        if one == other:
            continue
        first = first or FirstChange(
            index=index,
            left=one.source if one else None,
            right=other.source if other else None,
            left_digest=one.digest if one else None,
            right_digest=other.digest if other else None,
        )
        causes += [region.source for region in (one, other) if region is not None]
    return first, causes


def _moved_sections(left: MeasurementSet, right: MeasurementSet) -> list[str]:
    """Return the sections whose content differs, by the events of PCR 11 of any log that both sides have."""
    moved: dict[str, None] = {}
    for name in left.logs.keys() & right.logs.keys():
        ours, theirs = _sections(left.logs[name]), _sections(right.logs[name])
        moved |= dict.fromkeys(
            section for section in (*ours, *theirs) if not _agree(ours.get(section), theirs.get(section))
        )
    return list(moved)


def _agree(one: Mapping[str, bytes] | None, other: Mapping[str, bytes] | None) -> bool:
    if one is None or other is None:
        return one is other
    return all(one[alg] == other[alg] for alg in one.keys() & other.keys())


def _sections(log: Sequence[Event]) -> dict[str, Mapping[str, bytes]]:
    return {event.subject.removeprefix(_SECTION): event.digests for event in log if event.subject.startswith(_SECTION)}


def _options(manifest: ImageManifest) -> dict[str, str]:
    platform = manifest.platform
    return {
        "target": manifest.target,
        "root_format": manifest.root_format,
        "phases": " ".join(manifest.phases),
        "source_date_epoch": str(manifest.source_date_epoch),
        "vmm": platform.vmm,
        "firmware": platform.firmware,
        "boot": " ".join(platform.boot),
        "vcpus": " ".join(map(str, platform.vcpus)),
        "cpus": " ".join(platform.cpus),
        "guest_features": " ".join(map(hex, platform.guest_features)),
        "secure_boot": platform.secure_boot,
    }


def _packages(manifest: ImageManifest) -> dict[str, str]:
    return {f"{package.name}:{package.arch}": package.version for package in manifest.packages}


def _components(manifest: ImageManifest) -> dict[str, str]:
    return {component.name: component.sha256 for component in manifest.components}


def _files(manifest: ImageManifest) -> dict[str, str]:
    return {name: record.sha256 for name, record in manifest.files.items()}
