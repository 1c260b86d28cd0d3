"""cloud-api-adaptor's pin file: ``versions.yaml`` in, a component set out.

Schema: ``versions.schema.json`` of its 0.22 release (draft-07, no additional properties). Its pins are git commits and
tags that become names of artifacts; none is a digest, which is what the lock is for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from podvm_builder.catalog.yaml_nodes import Document, MapNode, Node, ScalarNode
from podvm_builder.catalog.yaml_source import read_yaml
from podvm_builder.errors import InputError, InputErrors
from podvm_builder.supply import published

CODE = "PVB757"

_SHA256 = re.compile(r"[0-9a-f]{64}")
_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REASON = "versions.yaml of cloud-api-adaptor says nothing of its provenance"

Check = Callable[[MapNode], Iterator[tuple[Node, str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A set made from a pin file."""

    text: str
    """The set, YAML."""
    left_out: tuple[str, ...]
    """What of the pin file is no component, in its own words."""


def import_versions(text: str, *, file: str, tee: str, arch: str) -> Imported:
    """Turn a pin file into a component set.

    Args:
        text: YAML.
        file: its name, for messages.
        tee: tag of attestation-agent's artifact; the pin file leaves it to the build.
        arch: as ``uname -m`` says it.

    Raises:
        InputError: it is not YAML that is read here; PVB731, there is no such attestation-agent.
        InputErrors: PVB757, it is not of the pin file's schema.
    """
    wrong = published.wrong_tee(tee, arch)
    if wrong is not None:
        raise InputError(wrong[0], code="PVB731", hint=wrong[1])
    document = read_yaml(text, file=file)
    root = document.root
    if not isinstance(root, MapNode):
        raise InputError("the pin file is a mapping", code=CODE, place=document.place(root.spot))
    errors = [*document.errors, *_errors(root, document)]
    if errors:
        raise InputErrors(tuple(errors))
    oci = root.get("oci")
    assert isinstance(oci, MapNode)  # noqa: S101 - the schema was checked
    rows = {key.text: node for key, node in oci.entries if isinstance(node, MapNode)}
    taken = ("kata-containers", "guest-components", "pause")
    if missing := [name for name in taken if name not in rows]:
        raise InputError(f"`oci` has no `{missing[0]}`", code=CODE, place=document.place(oci.spot))
    lines = [
        f"# Made from {_comment(file)} by `podvm-build components import`.",
        "# The agents that cloud-api-adaptor builds itself, agent-protocol-forwarder and process-user-data, are not in",
        "# it: add them below `components`.",
        "schema: 1",
        f"arch: {arch}",
        f"tee: {tee}",
        "kata:",
        *_release(rows["kata-containers"]),
        "guest-components:",
        *_release(rows["guest-components"]),
        "pause:",
        f"  image: {_quoted(_value(rows['pause'], 'registry') + ':' + _pin(rows['pause']))}",
        f"  unverified: {{reason: {_REASON}}}",
    ]
    others = [name for name in rows if name not in taken]
    groups = [key.text for key, _ in root.entries if key.text != "oci"]
    return Imported(text="\n".join(lines) + "\n", left_out=(*groups, *(f"oci.{name}" for name in others)))


def _release(row: MapNode) -> list[str]:
    return [f"  registry: {_quoted(_value(row, 'registry'))}", f"  reference: {_quoted(_pin(row))}"]


def _pin(row: MapNode) -> str:
    return _value(row, "reference") if row.has("reference") else _value(row, "tag")


def _value(row: MapNode, key: str) -> str:
    node = row.get(key)
    # a tag such as 3.9 is a number to YAML, and a name to a registry
    return node.text if isinstance(node, ScalarNode) else ""


def _quoted(text: str) -> str:
    return f'"{text}"'


def _comment(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


def _errors(root: MapNode, document: Document) -> Iterator[InputError]:
    """Find what the schema of the pin file does not allow."""
    known: dict[str, Check] = {"tools": _tool, "git": _git, "oci": _oci, "cloudimg": _cloudimg}
    for name in ("tools", "git", "oci"):
        if not root.has(name):
            yield InputError(f"`{name}` is missing", code=CODE, place=document.place(root.spot))
    for key, node in root.entries:
        check = known.get(key.text)
        if check is None:
            hint = f"the schema knows {', '.join(known)}"
            yield InputError(f"unknown key `{key.text}`", code=CODE, place=document.place(key.spot), hint=hint)
        elif not isinstance(node, MapNode):
            yield InputError(f"`{key.text}` is not a mapping", code=CODE, place=document.place(key.spot))
        else:
            for at, message in check(node):
                yield InputError(message, code=CODE, place=document.place(at.spot))


def _tool(node: MapNode) -> Iterator[tuple[Node, str]]:
    for key, value in node.entries:
        if isinstance(value, MapNode):
            yield from _keys(key, value, required=("version", "sha256"))
            sha256 = value.get("sha256")
            if sha256 is not None and not (isinstance(sha256, ScalarNode) and _SHA256.fullmatch(sha256.text)):
                yield sha256, f"`tools.{key.text}.sha256` has not 64 hex digits"
        elif not isinstance(value, ScalarNode) or value.value is None:
            yield value, f"`tools.{key.text}` is neither a version nor a version with its digest"


def _git(node: MapNode) -> Iterator[tuple[Node, str]]:
    for key, value in node.entries:
        yield from _keys(key, value, required=("url", "reference"))


def _oci(node: MapNode) -> Iterator[tuple[Node, str]]:
    for key, value in node.entries:
        yield from _keys(key, value, required=("registry",), optional=("tag", "reference"))
        if not isinstance(value, MapNode):
            continue
        if value.has("tag") == value.has("reference"):
            yield key, f"`oci.{key.text}` has not exactly one of `tag` and `reference`"
        reference = value.get("reference")
        if isinstance(reference, ScalarNode) and not _COMMIT.fullmatch(reference.text):
            yield reference, f"`oci.{key.text}.reference` is not a git commit of 40 hex digits"
        for name in ("registry", "tag"):
            if (text := _value(value, name)) and not re.fullmatch(r"[A-Za-z0-9._:/-]+", text):
                yield value, f"`oci.{key.text}.{name}` has characters that no name of a registry has"


def _cloudimg(node: MapNode) -> Iterator[tuple[Node, str]]:
    for distro, releases in node.entries:
        for release, archs in releases.entries if isinstance(releases, MapNode) else ():
            for arch, image in archs.entries if isinstance(archs, MapNode) else ():
                yield from _keys(arch, image, required=("url", "checksum"))
                checksum = image.get("checksum") if isinstance(image, MapNode) else None
                if isinstance(checksum, ScalarNode) and not _CHECKSUM.fullmatch(checksum.text):
                    at = f"cloudimg.{distro.text}.{release.text}.{arch.text}.checksum"
                    yield checksum, f"`{at}` is neither sha256: and 64 nor sha512: and 128 hex digits"


def _keys(
    key: ScalarNode, node: Node, *, required: tuple[str, ...], optional: tuple[str, ...] = ()
) -> Iterator[tuple[Node, str]]:
    if not isinstance(node, MapNode):
        yield node, f"`{key.text}` is not a mapping with {', '.join(required)}"
        return
    for name in required:
        if not node.has(name):
            yield key, f"`{key.text}` lacks `{name}`"
    for word, value in node.entries:
        if word.text not in (*required, *optional):
            yield word, f"unknown key `{word.text}` in `{key.text}`"
        elif not isinstance(value, ScalarNode) or value.value is None:
            yield value, f"`{word.text}` of `{key.text}` is not text"
