"""What differs from machine to machine or from build to build, and so has no place in an image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase

from podvm_builder.formats.filetree import Kind
from podvm_builder.lint.known import Known
from podvm_builder.lint.rule import Hit, rule
from podvm_builder.lint.subject import Need, Subject

_MACHINE_ID = ("", "uninitialized")


@rule(
    "PVB850",
    "identity",
    Need.FILES,
    mend="take it out (`image.remove`), or leave the file empty: each machine makes its own at boot",
)
def identity(subject: Subject, known: Known) -> Iterator[Hit]:
    """Find identities that every machine of this image would share."""
    files = subject.root
    for path in ("etc/machine-id", "var/lib/dbus/machine-id"):
        entry = files.entries.get(path)
        text = files.text(path) if entry is not None and entry.kind is Kind.FILE else None
        if text is not None and text.strip() not in _MACHINE_ID:
            yield f"/{path}", f"`/{path}` holds an ID"
    yield from _named(subject, known.facts.identities)


@rule(
    "PVB851",
    "leftover",
    Need.FILES,
    mend="remove it (`image.remove`): it is different after every build",
)
def leftover(subject: Subject, known: Known) -> Iterator[Hit]:
    """Find caches, logs and the like, which differ between two builds of the same image."""
    yield from _named(subject, known.facts.leftovers)


@rule(
    "PVB852",
    "timestamp",
    Need.FILES,
    Need.EPOCH,
    Need.OWNERS,
    mend="build with `SourceDateEpoch=`, and write no file after mkosi has settled the times",
)
def timestamp(subject: Subject, _: Known) -> Iterator[Hit]:
    """Find times later than the image's."""
    epoch = subject.about.epoch or 0
    late = [path for path, entry in subject.root.entries.items() if entry.changed > epoch]
    for path in late:
        changed = subject.root.entries[path].changed
        yield f"/{path}", f"`/{path}` was changed at {changed}, after the image's time {epoch}"


@rule(
    "PVB853",
    "recipe-unstable",
    Need.RECIPE,
    mend="render the recipe anew: it sets both",
)
def recipe_unstable(subject: Subject, _: Known) -> Iterator[Hit]:
    """Find a recipe whose image would be another one each time."""
    settings = subject.settings or {}
    for key in ("Seed", "SourceDateEpoch"):
        if not any(settings.get(key, ())):
            yield "mkosi.conf", f"the recipe has no `{key}=`"


@rule(
    "PVB854",
    "unwanted-package",
    Need.RECIPE,
    mend="take the package out of `packages`",
)
def unwanted_package(subject: Subject, known: Known) -> Iterator[Hit]:
    """Find packages that a PodVM must not have."""
    for package in (subject.settings or {}).get("Packages", ()):
        for pattern, reason in known.facts.unwanted_packages.items():
            if fnmatchcase(package.partition("=")[0], pattern):
                yield "Packages", f"`{package}`: {reason}"


def _named(subject: Subject, known: Mapping[str, str]) -> Iterator[Hit]:
    for path, entry in subject.root.entries.items():
        for pattern, what in known.items():
            if entry.kind is not Kind.FOLDER and fnmatchcase(path, pattern):
                yield f"/{path}", f"`/{path}` is {what}"
