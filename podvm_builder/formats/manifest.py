"""``manifest.json``: :class:`~podvm_builder.model.manifest.ImageManifest` as JSON, both ways.

Schema ``podvm-manifest/1``. Digests are lower-case hex; SEV_FEATURES values are ``0x…`` texts, as they are wider than
the integers of JSON (RFC 8259 §6). Reading is strict about what it knows and ignores keys that it does not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from podvm_builder.errors import FormatError
from podvm_builder.formats.facts import facts_from_json
from podvm_builder.model.fact import Facts
from podvm_builder.model.lint import Suppression
from podvm_builder.model.manifest import VERIFICATIONS, ComponentRecord, FileRecord, ImageManifest, PackageRecord
from podvm_builder.model.plan import BOOT_PATHS, PLATFORM_VMMS, SECURE_BOOT, EvidencePlan, Ids, PlatformPlan

SCHEMA = "podvm-manifest/1"
CODE = "PVB203"

_HEX = re.compile(r"(?:[0-9a-f]{2})+")
_FEATURES = re.compile(r"0x[0-9a-f]{1,16}")

T = TypeVar("T")


def manifest_to_json(manifest: ImageManifest) -> dict[str, Any]:
    """Return the document as JSON values, keys in the schema's order."""
    document = {"schema": SCHEMA, **asdict(manifest)}
    document["platform"]["guest_features"] = [hex(value) for value in manifest.platform.guest_features]
    return document


def manifest_from_json(value: object) -> ImageManifest:
    """Read JSON values into an :class:`~podvm_builder.model.manifest.ImageManifest`.

    Raises:
        FormatError: PVB203, another schema, a missing key, or a value that is not what its key says or none of
            those that it may have.
    """
    top = _Object(value, "manifest.json")
    schema = top.text("schema")
    if schema != SCHEMA:
        raise FormatError(f"`schema` is `{schema}`, not `{SCHEMA}`", code=CODE)
    ids, platform, evidence = top.nested("ids"), top.nested("platform"), top.nested("evidence")
    return ImageManifest(
        target=top.text("target"),
        profile=top.text("profile"),
        ids=Ids(rootfs=ids.hex("rootfs"), image=ids.hex("image"), plan=ids.hex("plan")),
        recipe=top.hex("recipe"),
        flags=top.texts("flags"),
        root_hash=top.hex("root_hash"),
        root_format=top.text("root_format"),
        phases=top.texts("phases"),
        platform=PlatformPlan(
            vmm=platform.get("vmm", _vmm),
            firmware=platform.text("firmware"),
            boot=platform.list("boot", _one_of(BOOT_PATHS)),
            vcpus=platform.list("vcpus", _natural),
            cpus=platform.texts("cpus"),
            guest_features=platform.list("guest_features", _features),
            secure_boot=platform.get("secure_boot", _one_of(SECURE_BOOT)),
        ),
        evidence=EvidencePlan(
            kind=evidence.text("kind"),
            promised=evidence.texts("promised"),
            identifies=evidence.boolean("identifies"),
            by=evidence.texts("by"),
            reason=evidence.text("reason"),
            source=evidence.text("source"),
        ),
        trust=top.get("trust", _facts) if top.has("trust") else {},
        source_date_epoch=top.natural("source_date_epoch"),
        tools=top.map("tools", _text),
        files=top.map("files", _file),
        packages=top.list("packages", _package),
        components=top.list("components", _component),
        # manifests of builds before 0.2 have none
        suppressions=top.list("suppressions", _suppression) if top.has("suppressions") else (),
    )


def _facts(value: object, at: str) -> Facts:
    return facts_from_json(value, at, code=CODE)


def _file(value: object, at: str) -> FileRecord:
    row = _Object(value, at)
    return FileRecord(size=row.natural("size"), sha256=row.hex("sha256"))


def _package(value: object, at: str) -> PackageRecord:
    row = _Object(value, at)
    return PackageRecord(name=row.text("name"), version=row.text("version"), arch=row.text("arch"))


def _component(value: object, at: str) -> ComponentRecord:
    row = _Object(value, at)
    return ComponentRecord(
        name=row.text("name"),
        path=row.text("path"),
        sha256=row.hex("sha256"),
        source=row.text("source"),
        # builds before 0.4 did not say these
        digest=row.text("digest", ""),
        licence=row.text("licence", "NOASSERTION"),
        verification=row.get("verification", _one_of(VERIFICATIONS)) if row.has("verification") else "unverified",
        note=row.text("note", ""),
    )


def _suppression(value: object, at: str) -> Suppression:
    row = _Object(value, at)
    return Suppression(code=row.text("code"), path=row.text("path"), reason=row.text("reason"))


def _text(value: object, at: str) -> str:
    if not isinstance(value, str):
        raise FormatError(f"`{at}` is not a text", code=CODE)
    return value


def _natural(value: object, at: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise FormatError(f"`{at}` is not a whole number from 0", code=CODE)
    return value


def _features(value: object, at: str) -> int:
    if not isinstance(value, str) or _FEATURES.fullmatch(value) is None:
        raise FormatError(f"`{at}` is not a 64-bit number as `0x…`", code=CODE)
    return int(value, 16)


def _one_of(known: Sequence[str]) -> Callable[[object, str], str]:
    def read(value: object, at: str) -> str:
        word = _text(value, at)
        if word not in known:
            raise FormatError(f"`{at}` is `{word}`, not one of {', '.join(known)}", code=CODE)
        return word

    return read


def _vmm(value: object, at: str) -> str:
    text = _text(value, at)
    _one_of(PLATFORM_VMMS)(text.partition("@")[0], at)
    return text


class _Object:
    """A JSON object whose keys are read by type."""

    def __init__(self, value: object, at: str) -> None:
        if not isinstance(value, Mapping):
            raise FormatError(f"`{at}` is not an object", code=CODE)
        self._value = value
        self._at = "" if at == "manifest.json" else f"{at}."

    def _get(self, key: str) -> tuple[object, str]:
        if key not in self._value:
            raise FormatError(f"`{self._at}{key}` is missing", code=CODE)
        return self._value[key], f"{self._at}{key}"

    def nested(self, key: str) -> _Object:
        return _Object(*self._get(key))

    def get(self, key: str, read: Callable[[object, str], T]) -> T:
        return read(*self._get(key))

    def has(self, key: str) -> bool:
        return key in self._value

    def text(self, key: str, default: str | None = None) -> str:
        return default if default is not None and key not in self._value else _text(*self._get(key))

    def texts(self, key: str) -> tuple[str, ...]:
        return self.list(key, _text)

    def natural(self, key: str) -> int:
        return _natural(*self._get(key))

    def boolean(self, key: str) -> bool:
        value, at = self._get(key)
        if not isinstance(value, bool):
            raise FormatError(f"`{at}` is neither true nor false", code=CODE)
        return value

    def hex(self, key: str) -> str:
        value, at = self._get(key)
        if not isinstance(value, str) or _HEX.fullmatch(value) is None:
            raise FormatError(f"`{at}` is not lower-case hex", code=CODE)
        return value

    def list(self, key: str, read: Callable[[object, str], T]) -> tuple[T, ...]:
        value, at = self._get(key)
        if not isinstance(value, list | tuple):
            raise FormatError(f"`{at}` is not a list", code=CODE)
        return tuple(read(item, f"{at}[{index}]") for index, item in enumerate(value))

    def map(self, key: str, read: Callable[[object, str], T]) -> dict[str, T]:
        value, at = self._get(key)
        if not isinstance(value, Mapping):
            raise FormatError(f"`{at}` is not an object", code=CODE)
        return {name: read(item, f"{at}.{name}") for name, item in value.items()}
