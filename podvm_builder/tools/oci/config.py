"""Credentials of registries from the configuration that docker, podman and skopeo keep.

Read in this order, the first that knows a registry counts: ``$REGISTRY_AUTH_FILE`` alone where it is set, else
``$DOCKER_CONFIG/config.json`` (``~/.docker/config.json``), then ``$XDG_RUNTIME_DIR/containers/auth.json``. Keys are
hosts, the addresses that docker writes (``https://index.docker.io/v1/``), or hosts with the beginning of a repository
as in containers-auth.json(5). A helper program gets the host on its standard input, so that no secret is an argument.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from podvm_builder.errors import InputError
from podvm_builder.tools.inputs import open_input

CODE = "PVB701"
DOCKER_HUB = "docker.io"
_HUB_NAMES = ("docker.io", "index.docker.io", "registry-1.docker.io")
_MAX_CONFIG = 4 << 20
_HELPER_TIMEOUT = 60.0
_TOKEN_USER = "<token>"  # noqa: S105 - what helpers say instead of a name where the secret is an identity token


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a registry or its token server is told. Never printed: no part of it shows in ``repr``."""

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    """An OAuth 2 refresh token that stands in the place of a password."""
    registry_token: str = field(default="", repr=False)
    """A token to be sent to the registry as it is."""

    @property
    def basic(self) -> str | None:
        """Return the value of an ``Authorization`` header of scheme Basic, None where there is no name."""
        if not self.username:
            return None
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the configuration has for a registry."""

    credentials: Credentials | None = None
    note: str | None = None
    """Why there are none although the configuration names a helper; said where the registry then refuses."""


class DockerConfig:
    """Configuration files, and what their helpers answered; each helper is asked once for a registry."""

    def __init__(self, files: Sequence[tuple[str, Mapping[str, Any]]] = ()) -> None:
        """Keep the files' content.

        Args:
            files: name and JSON content of each, in the order in which they count.
        """
        self._files = tuple(files)
        self._found: dict[str, Found] = {}
        self._lock = Lock()

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> DockerConfig:
        """Read the files of this user; absent ones are skipped, but not one that the environment names.

        Raises:
            InputError: PVB701, a file cannot be read or is not what docker writes.
        """
        env = os.environ if environ is None else environ
        named = env.get("REGISTRY_AUTH_FILE", "")
        if named:
            return cls([(named, _read(Path(named)))])
        home = Path(env.get("HOME") or Path.home())
        paths = [Path(env.get("DOCKER_CONFIG") or home / ".docker") / "config.json"]
        if env.get("XDG_RUNTIME_DIR"):
            paths.append(Path(env["XDG_RUNTIME_DIR"]) / "containers/auth.json")
        # unlike pathlib's, this function answers no of a folder that is not ours to look into
        return cls([(str(path), _read(path)) for path in paths if os.path.isfile(path)])  # noqa: PTH113 - it raises nothing where a folder is closed to us

    def find(self, registry: str, repository: str = "") -> Found:
        """Return what is known for a registry, the entry with the longest beginning of the repository first.

        Raises:
            InputError: PVB701, the entry cannot be read.
        """
        name = f"{registry}/{repository}" if repository else registry
        with self._lock:
            if name not in self._found:
                self._found[name] = self._look(registry, repository)
            return self._found[name]

    def _look(self, registry: str, repository: str) -> Found:
        last = Found()
        for path, content in self._files:
            for key in _keys(registry, repository):
                helper = _get(content, "credHelpers", path).get(key)
                if isinstance(helper, str) and helper:
                    return _ask(helper, key)
            for key in _keys(registry, repository):
                entry = _get(content, "auths", path).get(key)
                if isinstance(entry, dict) and entry:
                    return Found(credentials=_entry(entry, f"the entry `{key}` of `{path}`"))
            store = content.get("credsStore")
            if isinstance(store, str) and store:
                hub = registry in _HUB_NAMES
                last = _ask(store, "https://index.docker.io/v1/" if hub else registry)
                if last.credentials is not None:
                    return last
        return last


def _keys(registry: str, repository: str) -> list[str]:
    """Return the keys under which an entry for a repository may stand, the most particular first."""
    names = _HUB_NAMES if registry in _HUB_NAMES else (registry,)
    parts = repository.split("/") if repository else []
    keys = [f"{name}/{'/'.join(parts[:count])}" for count in range(len(parts), 0, -1) for name in names]
    for name in names:
        keys += [
            name,
            *(f"{scheme}{name}{end}" for scheme in ("https://", "http://") for end in ("", "/", "/v1/", "/v2/")),
        ]
    return keys


def _read(path: Path) -> dict[str, Any]:
    with open_input(path, what=f"the registry configuration `{path}`", code=CODE) as file:
        data = file.read(_MAX_CONFIG + 1)
    try:
        content = json.loads(data[:_MAX_CONFIG])
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        # neither the text nor the parser's words: both would show secrets
        raise InputError(f"the registry configuration `{path}` is no JSON object", code=CODE, hint="see what it is")
    return content


def _get(content: Mapping[str, Any], key: str, path: str) -> Mapping[str, Any]:
    value = content.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InputError(f"`{key}` of the registry configuration `{path}` is no object", code=CODE)
    return value


def _entry(entry: Mapping[str, Any], what: str) -> Credentials:
    parts = {}
    for key in ("auth", "username", "password", "identitytoken", "registrytoken"):
        value = entry.get(key, "")
        if not isinstance(value, str):
            raise InputError(f"`{key}` in {what} is no text", code=CODE)
        parts[key] = value
    if parts["auth"]:
        try:
            text = base64.b64decode(parts["auth"], validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            text = ""
        name, colon, password = text.partition(":")
        if not colon:
            raise InputError(f"`auth` in {what} is not the base64 of a name and a password", code=CODE)
        # docker fills the password with zeros
        parts["username"], parts["password"] = name, password.rstrip("\0")
    return Credentials(
        username=parts["username"],
        password=parts["password"],
        identity_token=parts["identitytoken"],
        registry_token=parts["registrytoken"],
    )


def _ask(helper: str, server: str) -> Found:
    """Run a credential helper, as docker/docker-credential-helpers describes it."""
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", helper) is None:
        return Found(note="the configuration names a credential helper that is no program's name")
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, "get"],
            input=server.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_HELPER_TIMEOUT,
            check=False,
        )
    except FileNotFoundError:
        return Found(note=f"the credential helper `{program}` is not installed")
    except OSError as error:
        return Found(note=f"the credential helper `{program}` could not be run: {error.strerror}")
    except subprocess.TimeoutExpired:
        return Found(note=f"the credential helper `{program}` did not answer within {_HELPER_TIMEOUT:.0f} s")
    if done.returncode != 0:
        return Found(note=f"the credential helper `{program}` has no credentials for `{server}`")
    try:
        answer = json.loads(done.stdout)
        name, secret = answer["Username"], answer["Secret"]
    except (ValueError, RecursionError, KeyError, TypeError):
        name = secret = None
    if not isinstance(name, str) or not isinstance(secret, str):
        return Found(note=f"the credential helper `{program}` gave an answer that is not of its protocol")
    if name == _TOKEN_USER:
        return Found(credentials=Credentials(identity_token=secret))
    return Found(credentials=Credentials(username=name, password=secret))
