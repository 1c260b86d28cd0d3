"""Where registries are asked: mirrors, hosts without TLS, and what may not be used.

From the program that calls, and from the configuration that podman and skopeo share, containers-registries.conf(5):
``$CONTAINERS_REGISTRIES_CONF`` alone where it is set, else ``~/.config/containers/registries.conf`` or
``/etc/containers/registries.conf``, with the ``registries.conf.d`` of both. Of it, ``[[registry]]`` tables count.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from podvm_builder.errors import InputError
from podvm_builder.tools.inputs import open_input

CODE = "PVB707"
BLOCKED = "PVB711"
_MAX_CONFIG = 1 << 20
_ETC = Path("/etc/containers")
_PULLS = {"all", "digest-only", "tag-only", ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """A place that serves what a registry has."""

    host: str
    prefix: str = ""
    """What stands before the repository there, without slashes around it."""
    digests: bool = True
    """Whether it is asked for digests."""
    tags: bool = True
    """Whether it is asked for tags, where the registry itself does not answer."""

    @classmethod
    def parse(cls, text: str, *, pull: str = "", what: str = "") -> Mirror:
        """Read ``host[:port][/prefix]``.

        Args:
            text: the place.
            pull: ``digest-only``, ``tag-only``, or another word for both.
            what: where it stands, for the message.

        Raises:
            InputError: PVB707.
        """
        host, _, prefix = text.rstrip("/").partition("/")
        if re.fullmatch(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?", host) is None or not re.fullmatch(
            r"(?:[a-z0-9._-]+(?:/[a-z0-9._-]+)*)?", prefix
        ):
            raise InputError(
                f"`{text}` is no place of a registry" + (f", in {what}" if what else ""),
                code=CODE,
                hint="write `host[:port][/prefix]`, without a scheme",
            )
        return cls(host=host.lower(), prefix=prefix, digests=pull != "tag-only", tags=pull != "digest-only")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What holds for the names that begin so."""

    mirrors: tuple[Mirror, ...] = ()
    """In the order in which they are asked."""
    location: Mirror | None = None
    """Where the registry itself is; None for where its name says."""
    blocked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A repository at a host."""

    host: str
    repository: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosts:
    """Rules by the beginning of a name, and the hosts that are asked without TLS."""

    rules: Mapping[str, Rule] = field(default_factory=dict)
    """By ``host``, ``host/beginning/of/a/repository`` or ``*.domain``."""
    insecure: frozenset[str] = frozenset()
    """Hosts, with their port where they have one, that are asked by plain http. Those of this machine always are."""

    @classmethod
    def parse(cls, mirrors: Mapping[str, Sequence[str]], insecure: Iterable[str]) -> Hosts:
        """Read what a user wrote.

        Raises:
            InputError: PVB707.
        """
        rules = {name: Rule(mirrors=tuple(Mirror.parse(one) for one in rows)) for name, rows in mirrors.items()}
        return cls(rules=rules, insecure=frozenset(host.lower() for host in insecure))

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, *, etc: Path = _ETC) -> Hosts:
        """Read the configuration of this machine and this user; later files and drop-ins replace whole tables.

        Raises:
            InputError: PVB707, a file cannot be read.
        """
        rules: dict[str, Rule] = {}
        insecure: set[str] = set()
        for path in _files(os.environ if environ is None else environ, etc):
            _read(path, rules, insecure)
        return cls(rules=rules, insecure=frozenset(insecure))

    def plain(self, host: str) -> bool:
        """Say whether a host is asked by plain http: it was named, or it is this machine."""
        return host.lower() in self.insecure or is_loopback(host)

    def places(self, registry: str, repository: str, *, tag: bool) -> list[Endpoint]:
        """Return where to ask for a name, in this order.

        A tag is asked of the registry first: mirrors may be behind. A digest is asked of the mirrors first.

        Raises:
            InputError: PVB711, the configuration blocks it.
        """
        beginning = self._longest(registry, repository)
        rule = self.rules[beginning] if beginning is not None else Rule()
        if rule.blocked:
            raise InputError(
                f"`{registry}/{repository}` is blocked by the configuration of registries",
                code=BLOCKED,
                hint="see registries.conf of this machine and of this user",
            )
        # what the beginning covers is replaced, of a wildcard nothing but the host
        _, _, covered = (beginning or "").partition("/")
        rest = repository[len(covered) :].lstrip("/")
        own = Endpoint(host=registry, repository=repository)
        if rule.location is not None:
            own = _moved(rule.location, rest)
        mirrors = [_moved(one, rest) for one in rule.mirrors if (one.tags if tag else one.digests)]
        return [own, *mirrors] if tag else [*mirrors, own]

    def _longest(self, registry: str, repository: str) -> str | None:
        name = f"{registry}/{repository}"
        fitting = [key for key in self.rules if name == key or name.startswith(f"{key}/")]
        wild = [key for key in self.rules if key.startswith("*.") and registry.endswith(key[1:])]
        return max(fitting or wild, key=len, default=None)


def is_loopback(host: str) -> bool:
    """Say whether a host, with or without a port, is this machine by its name or its number alone."""
    bare = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if bare.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return False


def _moved(place: Mirror, rest: str) -> Endpoint:
    repository = "/".join(part for part in (place.prefix, rest) if part)
    if not repository:
        raise InputError(
            f"the configuration of registries names the host `{place.host}` alone where a repository is to be",
            code=CODE,
            hint="its `prefix` is a whole repository, so that its `location` has to be one, too",
        )
    return Endpoint(host=place.host, repository=repository)


def _files(environ: Mapping[str, str], etc: Path) -> list[Path]:
    named = environ.get("CONTAINERS_REGISTRIES_CONF", "")
    if named:
        return [Path(named)]
    own = Path(environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME") or Path.home()) / ".config") / "containers"
    base = next((path for path in (own / "registries.conf", etc / "registries.conf") if os.path.isfile(path)), None)  # noqa: PTH113 - says no of what is not ours to look into
    drops = [path for folder in (etc, own) for path in sorted(_glob(folder / "registries.conf.d"))]
    return [*([base] if base is not None else []), *drops]


def _glob(folder: Path) -> Collection[Path]:
    try:
        return [path for path in folder.iterdir() if path.suffix == ".conf"]
    except OSError:
        return []


def _read(path: Path, rules: dict[str, Rule], insecure: set[str]) -> None:
    what = f"the configuration of registries `{path}`"
    with open_input(path, what=what, code=CODE) as file:
        data = file.read(_MAX_CONFIG)
    try:
        content = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{what} is no TOML: {error}", code=CODE, hint="see containers-registries.conf(5)") from None
    if isinstance(content.get("registries"), dict):
        raise InputError(f"{what} is of version 1, which is not read here", code=CODE, hint="write [[registry]] tables")
    for row in _tables(content, "registry", what):
        location = _text(row, "location", what)
        beginning = (_text(row, "prefix", what) or location).lower().rstrip("/")
        if not beginning:
            raise InputError(f"{what} has a `[[registry]]` with neither a prefix nor a location", code=CODE)
        mirrors = []
        for one in _tables(row, "mirror", what):
            pull = _text(one, "pull-from-mirror", what)
            if pull not in _PULLS:
                raise InputError(f"{what} has a mirror with `pull-from-mirror = {pull}`", code=CODE)
            if row.get("mirror-by-digest-only") is True:
                pull = "digest-only"
            mirrors.append(Mirror.parse(_text(one, "location", what), pull=pull, what=what))
            if one.get("insecure") is True:
                insecure.add(mirrors[-1].host)
        moved = Mirror.parse(location, what=what) if location and location != beginning else None
        rules[beginning] = Rule(mirrors=tuple(mirrors), location=moved, blocked=row.get("blocked") is True)
        if row.get("insecure") is True:
            insecure.add(moved.host if moved is not None else beginning.partition("/")[0])


def _tables(content: Mapping[str, Any], key: str, what: str) -> list[Mapping[str, Any]]:
    rows = content.get(key, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{what} has a `{key}` that is no list of tables", code=CODE)
    return rows


def _text(row: Mapping[str, Any], key: str, what: str) -> str:
    value = row.get(key, "")
    if not isinstance(value, str):
        raise InputError(f"{what} has a `{key}` that is no text", code=CODE)
    return value
