"""``components.lock.yaml``: :class:`~podvm_builder.model.components.ComponentLock` as YAML, both ways.

Schema ``podvm-components/1``. The text is canonical: one lock has one text. ``digest`` is the SHA-256 over the
canonical JSON (RFC 8785) of all other keys, so that an edit by hand is noticed; it is no signature.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any

import rfc8785

from podvm_builder.catalog.yaml_nodes import Document, ListNode, MapNode, Node, ScalarNode, plain
from podvm_builder.catalog.yaml_scalars import core_value, surprise
from podvm_builder.catalog.yaml_source import read_yaml
from podvm_builder.errors import InputError, InputErrors
from podvm_builder.model.components import (
    ComponentLock,
    Layer,
    LockedComponent,
    LockedFile,
    Pinned,
    Policy,
    Source,
    SourceKind,
)

SCHEMA = "podvm-components/1"
HEADER = "# Written by `podvm-build components lock`. Change the set and lock again; an edit here is refused.\n"

_PLAIN = re.compile(r"[A-Za-z0-9/][A-Za-z0-9/@+._-]*(?:[ :][A-Za-z0-9/@+._-]+)*")
"""Texts that stand without quotes."""
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_RELOCK = "change the set and run `podvm-build components lock SET -o LOCK`; git has the lock as it was"


def lock_digest(lock: ComponentLock) -> str:
    """Return the lock's own digest, ``sha256:…``."""
    return _digest(_values(lock))


def render_lock(lock: ComponentLock) -> str:
    """Return the lock's text: block style, texts that a YAML reader could take for something else in quotes."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """With quotes of our choice."""

        def ignore_aliases(self, data: object) -> bool:
            return True

    def text_of(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
        style = None if core_value(text) == text and surprise(text) is None and _PLAIN.fullmatch(text) else '"'
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    Dumper.add_representer(str, text_of)
    values = _values(lock)
    document = {"schema": values.pop("schema"), "digest": lock_digest(lock), **values}
    text: str = yaml.dump(document, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=1 << 16)
    return HEADER + text


def parse_lock(text: str, *, file: str) -> ComponentLock:
    """Read a lock.

    Args:
        text: YAML.
        file: its name, for messages.

    Raises:
        InputError: PVB106, PVB109, PVB110, it is not YAML that is read here; PVB740, it was edited by hand; PVB738, two
            components have one path.
        InputErrors: PVB103 to PVB105, PVB734, wrong keys or values.
    """
    from podvm_builder.planning.shape import Shape, shape_errors
    from podvm_builder.supply.lock_model import LockDocument

    shape = Shape(
        model=LockDocument, what="component locks", schema=SCHEMA, missing={"schema": _RELOCK}, groups=("trusted_root",)
    )
    document = read_yaml(text, file=file)
    root = document.root
    if not isinstance(root, MapNode):
        raise InputError("a component lock is a mapping", code="PVB104", place=document.place(root.spot), hint=_RELOCK)
    errors = [
        *document.errors,
        *shape_errors(document, root, whole=True, shape=shape),
        *_short_digests(root, document),
    ]
    if errors:
        raise InputErrors(tuple(errors))
    values = plain(root)
    assert isinstance(values, dict)  # noqa: S101 - a mapping, as was seen
    said = values.pop("digest")
    if said != _digest(values):
        at = root.get("digest") or root
        raise InputError(
            "the lock was edited by hand: its digest is not that of its content",
            code="PVB740",
            place=document.place(at.spot),
            hint=_RELOCK,
        )
    lock = _lock(values)
    for one in lock.components:
        if [one.policy is not None, one.unverified is not None].count(True) != (one.source.kind != SourceKind.SELFTEST):
            raise InputError(
                f"`{one.name}` must have either `provenance` or `unverified`, and a stand-in neither",
                code="PVB736",
                place=document.place(root.spot),
                hint=_RELOCK,
            )
    _refuse_shared_paths(lock, document)
    return lock


def _digest(values: object) -> str:
    return f"sha256:{hashlib.sha256(rfc8785.dumps(values)).hexdigest()}"  # type: ignore[arg-type]  # rfc8785 types its own


def _values(lock: ComponentLock) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "arch": lock.arch,
        "tee": lock.tee,
        "trusted_root": _pinned(lock.trusted_root),
        "components": [_component(one) for one in sorted(lock.components, key=lambda one: one.name)],
    }


def _component(one: LockedComponent) -> dict[str, Any]:
    policy = one.policy
    return {
        "name": one.name,
        "source": {
            "kind": one.source.kind.value,
            "location": one.source.location,
            "digest": one.source.digest,
            "size": one.source.size,
            "index": one.source.index,
            "layers": [
                {"digest": layer.digest, "size": layer.size, "media_type": layer.media_type}
                for layer in one.source.layers
            ],
        },
        "licence": one.licence,
        "provenance": None
        if policy is None
        else {
            "issuer": policy.issuer,
            "server": policy.server,
            "repository": policy.repository,
            "workflow": policy.workflow,
            "ref": policy.ref,
            "commit": policy.commit,
            "runner": policy.runner,
            "predicate": policy.predicate,
            "bundle": _pinned(one.bundle),
        },
        "unverified": None if one.unverified is None else {"reason": one.unverified},
        "files": [
            {
                "path": file.path,
                "member": file.member,
                "mode": f"{file.mode:04o}",
                "digest": file.digest,
                "size": file.size,
            }
            for file in sorted(one.files, key=lambda file: file.path)
        ],
    }


def _pinned(pinned: Pinned | None) -> dict[str, Any] | None:
    return None if pinned is None else {"origin": pinned.origin, "digest": pinned.digest, "size": pinned.size}


def _lock(values: dict[str, Any]) -> ComponentLock:
    return ComponentLock(
        arch=values["arch"],
        tee=values["tee"],
        trusted_root=Pinned(**values["trusted_root"]) if values["trusted_root"] else None,
        components=tuple(_locked(row) for row in values["components"]),
    )


def _locked(row: dict[str, Any]) -> LockedComponent:
    source, provenance = row["source"], row["provenance"]
    policy = None
    if provenance is not None:
        policy = Policy(**{key: value for key, value in provenance.items() if key != "bundle"})
    return LockedComponent(
        name=row["name"],
        source=Source(
            kind=SourceKind(source["kind"]),
            location=source["location"],
            digest=source["digest"],
            size=source["size"],
            index=source["index"],
            layers=tuple(Layer(**layer) for layer in source["layers"]),
        ),
        licence=row["licence"],
        files=tuple(LockedFile(**{**file, "mode": int(file["mode"], 8)}) for file in row["files"]),
        policy=policy,
        bundle=Pinned(**provenance["bundle"]) if provenance is not None else None,
        unverified=row["unverified"]["reason"] if row["unverified"] else None,
    )


def _short_digests(node: Node, document: Document) -> Iterator[InputError]:
    """Find digests that cannot be SHA-256; the depth was limited when the document was read."""
    for key, value in node.entries if isinstance(node, MapNode) else ():
        if (
            key.text in ("digest", "index")
            and isinstance(value, ScalarNode)
            and not (_DIGEST.fullmatch(value.text) or (key.text == "index" and value.value is None))
        ):
            hexes = value.text.removeprefix("sha256:")
            yield InputError(
                f"a digest is `sha256:` and 64 hex digits in lower case; this has {len(hexes)} characters there",
                code="PVB734",
                place=document.place(value.spot),
                hint=_RELOCK,
            )
        yield from _short_digests(value, document)
    for item in node.items if isinstance(node, ListNode) else ():
        yield from _short_digests(item, document)


def _refuse_shared_paths(lock: ComponentLock, document: Document) -> None:
    taken: dict[str, str] = {}
    for component in lock.components:
        for file in component.files:
            other = taken.setdefault(file.path, component.name)
            if other != component.name:
                raise InputError(
                    f"`{other}` and `{component.name}` both become `{file.path}`",
                    code="PVB738",
                    place=document.place(document.root.spot),
                    hint=_RELOCK,
                )
