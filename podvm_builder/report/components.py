"""A component lock, and how it differs from another, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from podvm_builder.model.components import ComponentLock, LockedComponent, SourceKind
from podvm_builder.report.text import printable


def render_lock_table(lock: ComponentLock) -> str:
    """Return a lock in short: what each program is taken from, where it goes, and how its origin is known."""
    lines = [f"for {lock.arch}" + (f", attestation-agent for {lock.tee}" if lock.tee else "")]
    for one in lock.components:
        source = one.source
        lines.append(f"{one.name}  {source.kind.value} {source.location}".rstrip())
        lines.append(f"  {source.digest}")
        lines += [f"  {file.path}  {file.mode:04o}  {file.size} bytes" for file in one.files]
        lines.append(f"  {one.licence}; {origin_of(one)}")
    return "\n".join(printable(line) for line in lines)


def origin_of(one: LockedComponent) -> str:
    """Return in words how a component's origin is known."""
    if one.policy is not None:
        policy = one.policy
        said = [
            f"{policy.server.removeprefix('https://')}/{policy.repository}",
            *([f"ref {policy.ref}"] if policy.ref else []),
            *([f"commit {policy.commit}"] if policy.commit else []),
        ]
        return f"provenance of {', '.join(said)}"
    if one.source.kind is SourceKind.SELFTEST:
        return "a stand-in"
    return f"unverified: {one.unverified}"


def lock_to_json(lock: ComponentLock) -> list[dict[str, Any]]:
    """Return a lock's components as JSON values."""
    return [
        {
            "name": one.name,
            "source": one.source.kind.value,
            "location": one.source.location or None,
            "digest": one.source.digest,
            "licence": one.licence,
            "verification": "policy" if one.policy else "selftest" if one.source.kind == "selftest" else "unverified",
            "reason": one.unverified,
            "files": [
                {"path": file.path, "mode": f"{file.mode:04o}", "size": file.size, "digest": file.digest}
                for file in one.files
            ],
        }
        for one in lock.components
    ]


def lock_changes(former: ComponentLock, now: ComponentLock) -> Iterator[str]:
    """Yield in words what differs between a lock and what its set gives now."""
    for field in ("arch", "tee"):
        old, new = getattr(former, field), getattr(now, field)
        if old != new:
            yield f"`{field}` was {old}, and is {new}"
    before = {one.name: one for one in former.components}
    after = {one.name: one for one in now.components}
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            yield f"`{name}` is not in the set any more"
        elif name not in before:
            yield f"`{name}` is not in the lock"
        elif before[name] != after[name]:
            yield _change(before[name], after[name])
    if former.trusted_root != now.trusted_root:
        yield "the trusted root is another"


def _change(old: LockedComponent, new: LockedComponent) -> str:
    if old.source.location != new.source.location:
        return f"`{new.name}` was taken from {old.source.location}, and is from {new.source.location}"
    if old.source.digest != new.source.digest:
        place = new.source.location or new.name
        return f"`{new.name}`: `{place}` was {old.source.digest}, and is {new.source.digest}"
    if old.files != new.files:
        return f"`{new.name}`: its files in the image are others"
    return f"`{new.name}`: its licence, provenance or bundle is another"
