"""Component sets: YAML text in, checked and located values out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from podvm_builder.catalog.yaml_nodes import Document, MapNode, Node, ScalarNode
from podvm_builder.catalog.yaml_source import read_yaml
from podvm_builder.errors import InputError, InputErrors
from podvm_builder.guest.components import COMPONENTS
from podvm_builder.model.components import (
    PROGRAM_MODE,
    ComponentSet,
    Policy,
    SourceKind,
    WantedComponent,
    WantedFile,
)
from podvm_builder.supply import published
from podvm_builder.supply.published import Published

GITHUB_ISSUER = "https://token.actions.githubusercontent.com"
GITHUB = "https://github.com"
PAUSE_BUNDLE = "/pause_bundle"
NO_LICENCE = "NOASSERTION"
"""SPDX's word for a licence that nobody has said anything about."""

_REGISTRIES = {
    "kata": "ghcr.io/kata-containers/cached-artefacts",
    "guest-components": "ghcr.io/confidential-containers/guest-components",
}
_REPOSITORIES = {
    "kata": "kata-containers/kata-containers",
    "guest-components": "confidential-containers/guest-components",
}
_MAIN = "refs/heads/main"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")
_REPOSITORY = re.compile(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+")
_ROOTS = ("/usr/", "/opt/", "/etc/", f"{PAUSE_BUNDLE}/")
"""Where a component may put a file: what is elsewhere is no part of the image's root, or not there at run time."""


def parse_set(text: str, *, file: str) -> ComponentSet:
    """Read a component set.

    Args:
        text: YAML.
        file: its name, for messages.

    Raises:
        InputError: the text is not YAML, or not YAML that is read here (PVB106, PVB109, PVB110).
        InputErrors: every other mistake found.
    """
    from podvm_builder.planning.shape import shape_errors
    from podvm_builder.supply.set_schema import SHAPE

    document = read_yaml(text, file=file)
    root = document.root
    if not isinstance(root, MapNode):
        place = document.place(root.spot)
        raise InputErrors((InputError("a component set is a mapping", code="PVB104", place=place),))
    errors = [*document.errors, *shape_errors(document, root, whole=True, shape=SHAPE)]
    if errors:
        raise InputErrors(tuple(errors))
    return _Reader(document, root).read()


class _Reader:
    """Takes a document of the right shape apart, and keeps what is wrong with its values."""

    def __init__(self, document: Document, root: MapNode) -> None:
        self._document = document
        self._root = root
        self._errors: list[InputError] = []
        self._arch = _text(root, "arch") or "x86_64"
        self._tee = _text(root, "tee")

    def read(self) -> ComponentSet:
        found: dict[str, WantedComponent] = {}
        for component in (*self._kata(), *self._guest_components(), *self._pause(), *self._own()):
            found[component.name] = component
        self._check_places(found)
        if not found and not self._errors:
            self._error("the set names no component", "PVB730", self._root, "add `kata`, `guest-components` …")
        if self._errors:
            raise InputErrors(tuple(self._errors))
        return ComponentSet(
            file=self._document.file,
            arch=self._arch,
            tee=self._tee,
            trusted_root=_text(self._root, "trusted_root") or "sigstore",
            components=tuple(sorted(found.values(), key=lambda one: one.name)),
        )

    def _kata(self) -> list[WantedComponent]:
        return self._release("kata", published.KATA)

    def _guest_components(self) -> list[WantedComponent]:
        node = self._root.get("guest-components")
        tee = self._root.get("tee")
        if node is None:
            if tee is not None:
                self._error(
                    "`tee` is given without `guest-components`", "PVB732", tee, "leave one out or add the other"
                )
            return []
        if self._tee is None or tee is None:
            known = ", ".join(published.ATTESTERS)
            self._error("`guest-components` needs `tee`", "PVB732", node, f"add `tee:` with one of {known}")
            return []
        wrong = published.wrong_tee(self._tee, self._arch)
        if wrong is not None:
            self._error(wrong[0], "PVB731", tee, wrong[1])
            return []
        return self._release("guest-components", published.GUEST_COMPONENTS)

    def _release(self, key: str, programs: tuple[Published, ...]) -> list[WantedComponent]:
        node = self._root.get(key)
        if not isinstance(node, MapNode):
            return []
        reference = _text(node, "reference") or ""
        if not reference:
            self._error("`reference` is empty", "PVB730", node, "name a commit or a release")
        registry = (_text(node, "registry") or _REGISTRIES[key]).rstrip("/")
        commit = reference if _COMMIT.fullmatch(reference) else None
        default = Policy(
            issuer=GITHUB_ISSUER,
            repository=_REPOSITORIES[key],
            workflow=None,
            ref=_MAIN if commit else None,
            commit=commit,
        )
        policy, bundle, unverified = self._provenance(node, default)
        return [
            WantedComponent(
                name=one.name,
                kind=SourceKind.ARTIFACT,
                location=f"{registry}/{one.repository}:"
                + published.tag(reference, self._arch, self._tee if one.by_tee else None),
                digest=None,
                files=(WantedFile(path=_path_of(one.name), member=one.member, mode=PROGRAM_MODE),),
                licence=_text(node, "licence") or "Apache-2.0",
                policy=policy,
                bundle=bundle,
                unverified=unverified,
                place=self._document.place(node.spot),
            )
            for one in programs
        ]

    def _pause(self) -> list[WantedComponent]:
        node = self._root.get("pause")
        if not isinstance(node, MapNode):
            return []
        policy, bundle, unverified = self._provenance(node, None)
        member = (_text(node, "file") or "/pause").lstrip("/")
        return [
            WantedComponent(
                name="pause",
                kind=SourceKind.IMAGE,
                location=_text(node, "image") or "",
                digest=None,
                files=(WantedFile(path=f"{PAUSE_BUNDLE}/rootfs/{member}", member=member, mode=PROGRAM_MODE),),
                licence=_text(node, "licence") or "Apache-2.0",
                policy=policy,
                bundle=bundle,
                unverified=unverified,
                place=self._document.place(node.spot),
            )
        ]

    def _own(self) -> list[WantedComponent]:
        rows = self._root.get("components")
        entries = rows.entries if isinstance(rows, MapNode) else ()
        return [found for key, node in entries if (found := self._component(key, node)) is not None]

    def _component(self, key: ScalarNode, node: Node) -> WantedComponent | None:
        assert isinstance(node, MapNode)  # noqa: S101 - the shape was checked
        name = key.text
        if not _NAME.fullmatch(name):
            self._error(f"`{name}` cannot be a component's name", "PVB730", key, "lower-case letters, digits, `-`, `.`")
            return None
        kinds = [kind for kind in SourceKind if node.has(kind.value)]
        if len(kinds) != 1:
            said = f"has {len(kinds)} sources" if kinds else "has no source"
            self._error(f"`{name}` {said}", "PVB733", key, f"give one of {', '.join(SourceKind)}")
            return None
        kind = kinds[0]
        file, sha256, location = _text(node, "file"), _text(node, "sha256"), _text(node, kind.value) or ""
        self._check_source(node, kind, location, file=file, sha256=sha256)
        # who writes the stand-ins is who runs this program, and a verifier is told of them by a flag of their own
        if kind is SourceKind.SELFTEST:
            for word in ("verify", "unverified"):
                if (extra := node.key(word)) is not None:
                    self._error(f"`{word}` says nothing about a stand-in", "PVB733", extra, "leave it out")
            policy, bundle, unverified = None, None, None
        else:
            policy, bundle, unverified = self._provenance(node, None)
        path = _text(node, "install") or _path_of(name)
        return WantedComponent(
            name=name,
            kind=kind,
            location=location,
            digest=f"sha256:{sha256}" if sha256 else None,
            files=(WantedFile(path=path, member=file.lstrip("/") if file else None, mode=PROGRAM_MODE),),
            licence=_text(node, "licence") or ("Apache-2.0" if kind is SourceKind.SELFTEST else NO_LICENCE),
            policy=policy,
            bundle=bundle,
            unverified=unverified,
            place=self._document.place(key.spot),
        )

    def _check_source(
        self, node: MapNode, kind: SourceKind, location: str, *, file: str | None, sha256: str | None
    ) -> None:
        at = node.get(kind.value) or node
        if kind is SourceKind.IMAGE and not file:
            self._error("an image needs `file`", "PVB733", at, "say which path of the image is the program")
        if kind is SourceKind.SELFTEST and (extra := node.key("file")) is not None:
            self._error("`file` says nothing about a stand-in", "PVB733", extra, "leave it out")
        if sha256 is not None and kind not in (SourceKind.URL, SourceKind.PATH):
            self._error(
                "`sha256` pins a URL or a path", "PVB733", node.get("sha256") or at, "pin a reference with @sha256:…"
            )
        elif sha256 is not None and not _SHA256.fullmatch(sha256):
            said = f"a SHA-256 has 64 hex digits, this has {len(sha256)} characters"
            self._error(said, "PVB734", node.get("sha256") or at, "give the output of `sha256sum`, in lower case")
        if kind is SourceKind.PATH and not _inside(location):
            self._error(f"`{location}` leads out of the set's folder", "PVB735", at, "put the file beside the set")

    def _provenance(self, node: MapNode, default: Policy | None) -> tuple[Policy | None, str | None, str | None]:
        verify, unverified = node.get("verify"), node.get("unverified")
        if isinstance(unverified, MapNode):
            if verify is not None:
                self._error(
                    "`verify` and `unverified` exclude one another", "PVB736", unverified, "leave one of them out"
                )
            reason = (_text(unverified, "reason") or "").strip()
            if not reason or not reason.isprintable():
                self._error(
                    "the reason is empty or has control characters", "PVB736", unverified, "say why in one line"
                )
            return None, None, reason
        if isinstance(verify, MapNode):
            return self._policy(verify, default), _text(verify, "bundle"), None
        if default is None:
            self._error(
                "nothing says how the component's origin is verified",
                "PVB736",
                node,
                "add `verify: {repository: owner/name}`, or `unverified: {reason: …}`",
            )
        return default, None, None

    def _policy(self, node: MapNode, default: Policy | None) -> Policy | None:
        repository = _text(node, "repository") or (default.repository if default else "")
        commit = _text(node, "commit") or (default.commit if default else None)
        if not _REPOSITORY.fullmatch(repository):
            hint = "write `repository: owner/name`"
            self._error("`verify` names no repository", "PVB736", node.get("repository") or node, hint)
            return None
        if commit is not None and not _COMMIT.fullmatch(commit):
            hint = "give all of the commit's 40 hex digits"
            self._error(f"`{commit}` is not a whole commit", "PVB736", node.get("commit") or node, hint)
        workflow, bundle = _text(node, "workflow"), _text(node, "bundle")
        if workflow is not None and not workflow.startswith(".github/workflows/"):
            hint = "write its path, e.g. `.github/workflows/release.yaml`"
            self._error(f"`{workflow}` is not a workflow's path", "PVB736", node.get("workflow") or node, hint)
        if bundle is not None and "://" not in bundle and not _inside(bundle):
            hint = "put the bundle beside the set"
            self._error(f"`{bundle}` leads out of the set's folder", "PVB735", node.get("bundle") or node, hint)
        return Policy(
            issuer=_text(node, "issuer") or GITHUB_ISSUER,
            repository=repository,
            workflow=workflow,
            ref=_text(node, "ref") or (default.ref if default else None),
            commit=commit,
            server=(_text(node, "server") or GITHUB).rstrip("/"),
            runner=_text(node, "runner"),
            predicate=_text(node, "predicate"),
        )

    def _check_places(self, found: Mapping[str, WantedComponent]) -> None:
        taken: dict[str, WantedComponent] = {}
        for component in found.values():
            for file in component.files:
                if not _is_plain(file.path):
                    self._errors.append(
                        InputError(
                            f"`{file.path}` is no place for a component",
                            code="PVB737",
                            place=component.place,
                            hint=f"give an absolute path below {', '.join(_ROOTS)}",
                        )
                    )
                other = taken.setdefault(file.path, component)
                if other is not component:
                    self._errors.append(
                        InputError(
                            f"`{other.name}` and `{component.name}` both become `{file.path}`",
                            code="PVB738",
                            place=component.place,
                            hint="give one of them another `install`",
                        )
                    )

    def _error(self, message: str, code: str, node: Node, hint: str) -> None:
        self._errors.append(InputError(message, code=code, place=self._document.place(node.spot), hint=hint))


def _text(node: MapNode, key: str) -> str | None:
    """Return the text of a scalar; of numbers too, as a release may be called ``3.9``."""
    value = node.get(key)
    return value.text if isinstance(value, ScalarNode) else None


def _path_of(name: str) -> str:
    known = {component.name: f"/{component.path}" for component in COMPONENTS}
    return known.get(name, f"/usr/local/bin/{name}")


def _inside(path: str) -> bool:
    parts = PurePosixPath(path)
    return bool(path) and not parts.is_absolute() and ".." not in parts.parts and path.isprintable()


def _is_plain(path: str) -> bool:
    return (
        path.startswith(_ROOTS)
        and path.isprintable()
        and path == str(PurePosixPath(path))
        and ".." not in path.split("/")
    )
