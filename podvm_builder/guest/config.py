"""The agents' configuration that a profile names: checked, then baked into the image or made into initdata.

Baked, a document is part of the measured root and holds for every machine of the image: it goes before what is
delivered. Delivered, it comes as initdata when a machine starts, and evidence ties it to the machine by a register of
its own.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass

from podvm_builder.errors import InputError, InputErrors, Place
from podvm_builder.guest.config_keys import AA, REGISTRIES, Mistake, cdh_mistakes, mistakes
from podvm_builder.guest.secrets import find_secrets

BAKED = "etc/podvm"
"""Where baked documents stand in the image; when a machine starts, they are put over what was delivered."""
REGISTRIES_URI = "file:///etc/containers/registries.conf"
_INITDATA = {"aa": "aa.toml", "cdh": "cdh.toml", "policy": "policy.rego"}
_PLACES = {
    **{kind: f"{BAKED}/{name}" for kind, name in _INITDATA.items()},
    "registries": "etc/containers/registries.conf",
    "client_ca": "etc/certificates/ca.crt",
    "ca_certificates": "usr/local/share/ca-certificates/podvm.crt",
    "ssh_key": "usr/share/podvm/authorized_keys",
}
_SSH_KEY = re.compile(
    r"(?:ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)|sk-[a-z0-9-]+@openssh\.com)"
    r" [A-Za-z0-9+/]{32,}={0,2}(?: .*)?"
)
DELIVERABLE = tuple(_INITDATA)
"""What initdata can carry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One document of a profile."""

    kind: str
    """The last part of its setting: ``aa``, ``cdh``, ``policy``, ``registries``, ``client_ca``, ``ca_certificates``,
    ``ssh_key``."""
    file: str
    """The user's name of it, for messages."""
    data: bytes


def check_documents(documents: tuple[Document, ...]) -> None:
    """See that every document is what its setting says and holds no secret.

    Raises:
        InputErrors: PVB418, it does not parse or has a key that its agent does not know; PVB419, it holds a secret;
            PVB420, nothing would read it.
    """
    errors = tuple(error for document in documents for error in _errors(document))
    errors += tuple(_unread(documents))
    if errors:
        raise InputErrors(errors)


def baked_files(documents: tuple[Document, ...], bake: tuple[str, ...]) -> dict[str, bytes]:
    """Return the documents that become part of the image: path in it, without the leading slash, to content."""
    chosen = [one for one in documents if one.kind in bake or one.kind not in DELIVERABLE]
    files: dict[str, bytes] = {}
    for document in chosen:
        path = _PLACES[document.kind]
        # several certificates make one file
        files[path] = files.get(path, b"") + document.data.rstrip(b"\n") + b"\n"
    return files


def delivered(documents: tuple[Document, ...], bake: tuple[str, ...]) -> dict[str, str]:
    """Return what initdata is to carry: name to text."""
    by_kind = {document.kind: document.data for document in documents}
    return {name: by_kind[kind].decode() for kind, name in _INITDATA.items() if kind in by_kind and kind not in bake}


def _errors(document: Document) -> Iterator[InputError]:
    for secret in find_secrets(document.data):
        yield InputError(
            f"`{document.file}` holds {secret.what}: whoever hosts the image or the machine could read it",
            code="PVB419",
            place=_place(document, secret.line),
            hint="keep it in the KBS, and name its address (`kbs:///…`) instead",
        )
    try:
        text = document.data.decode()
    except UnicodeDecodeError as error:
        yield _wrong(document, f"not UTF-8 (byte {error.start})")
        return
    if document.kind in ("aa", "cdh", "registries"):
        yield from _toml(document, text)
    elif document.kind == "policy":
        if re.search(r"^package[ \t]+agent_policy[ \t]*$", text, re.MULTILINE) is None:
            yield _wrong(document, "no `package agent_policy`, by which the kata agent finds its rules")
    elif document.kind == "ssh_key":
        yield from _ssh_keys(document, text)
    else:
        yield from _certificates(document)


def _toml(document: Document, text: str) -> Iterator[InputError]:
    try:
        values = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        line = re.search(r"at line (\d+)", str(error))
        yield _wrong(document, f"not TOML: {error}", line=int(line[1]) if line else None)
        return
    found: Iterator[Mistake] = (
        cdh_mistakes(values)
        if document.kind == "cdh"
        else mistakes(values, AA if document.kind == "aa" else REGISTRIES)
    )
    for mistake in found:
        yield _wrong(document, mistake.message, line=_line(text, mistake.key), hint=mistake.hint)


def _ssh_keys(document: Document, text: str) -> Iterator[InputError]:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        yield _wrong(document, "no public key")
    for line in lines:
        if _SSH_KEY.fullmatch(line) is None:
            yield _wrong(document, "a line that is no public key of SSH", hint="e.g. the content of `id_ed25519.pub`")


def _certificates(document: Document) -> Iterator[InputError]:
    from cryptography import x509  # a heavy import, and most profiles name no certificate

    try:
        x509.load_pem_x509_certificates(document.data)
    except ValueError:
        yield _wrong(document, "no certificates in PEM", hint="`-----BEGIN CERTIFICATE-----` begins one")


def _unread(documents: tuple[Document, ...]) -> Iterator[InputError]:
    """Find a registry configuration that no configuration of the confidential data hub names."""
    by_kind = {document.kind: document for document in documents}
    registries = by_kind.get("registries")
    if registries is None:
        return
    hub = by_kind.get("cdh")
    if hub is None or REGISTRIES_URI.encode() not in hub.data:
        yield InputError(
            "the confidential data hub would not read the registry configuration",
            code="PVB420",
            place=Place(file=registries.file),
            hint=f'set `registry_configuration_uri = "{REGISTRIES_URI}"` below `[image]` of `guest.cdh`; to deliver it,'
            " put it below `[image.registry_config]` there",
        )


def _wrong(document: Document, what: str, *, line: int | None = None, hint: str | None = None) -> InputError:
    return InputError(f"`{document.file}`: {what}", code="PVB418", place=_place(document, line), hint=hint)


def _place(document: Document, line: int | None) -> Place:
    return Place(file=document.file, line=line)


def _line(text: str, key: str) -> int | None:
    """Return the first line that assigns to a key or opens a table of its name."""
    found = re.search(rf"^[ \t\[]*(?:[\w.\"-]*\.)?\"?{re.escape(key)}\"?[ \t]*[=\]]", text, re.MULTILINE)
    return None if found is None else text.count("\n", 0, found.start()) + 1
