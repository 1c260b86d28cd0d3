"""Where packages come from: the option, else a Debian host's own apt configuration, else the tools' defaults.

A mirror is an input of a build, never of a plan; the log says which one was used. No archive's address is written
here. Formats read: sources.list(5), both one-line and deb822, apt.conf(5) through ``apt-config dump``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from podvm_builder.errors import InputError
from podvm_builder.tools.answer import Answer, ask
from podvm_builder.tools.process import environment, read_text, run, which

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

_ROLLING = ("sid", "unstable")
_KEPT = ("http", "https", "retries", "forceipv4", "forceipv6", "check-valid-until", "check-date", "max-futuretime")
_FILES = ("cainfo", "sslcert", "sslkey", "crlfile")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One entry of an apt source list."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str
    place: str
    """The file it stands in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirrors:
    """Where Debian packages come from, and how apt is to fetch them."""

    archive: str | None
    """URI of the archive; None leaves it to each tool's default."""
    security: str | None
    """URI of the security archive; None leaves it out where the archive is known."""
    options: tuple[tuple[str, str], ...]
    """apt settings by name, e.g. ``("Acquire::http::Proxy", "…")``."""
    origin: str
    """Where this is known from, for the log."""

    def deb822(self, suite: str, components: Sequence[str]) -> str | None:
        """Return a source list for one suite with its updates and security, or None where no archive is known."""
        if self.archive is None:
            return None
        return "\n".join(_stanza(uri, suites, components) for uri, suites in self._rows(suite))

    def one_line(self, suite: str, components: Sequence[str]) -> list[str]:
        """Return the same in one-line form; empty where no archive is known."""
        if self.archive is None:
            return []
        words = " ".join(components)
        return [f"deb {uri} {name} {words}" for uri, names in self._rows(suite) for name in names]

    def apt_conf(self, folder: str) -> str:
        """Return the settings as an apt.conf(5) file that finds the files of :meth:`files` in ``folder``."""
        moved = {path: f"{folder}/{name}" for name, path in self.files().items()}
        return "".join(f'{name} "{moved.get(value, value)}";\n' for name, value in self.options)

    def files(self) -> dict[str, str]:
        """Return the certificates and keys that the settings name: a file name for each, and its path on the host."""
        paths = {value for name, value in self.options if name.lower().rsplit("::", 1)[-1] in _FILES}
        return {f"{number}-{Path(path).name}": path for number, path in enumerate(sorted(paths))}

    def _rows(self, suite: str) -> list[tuple[str, tuple[str, ...]]]:
        assert self.archive is not None  # noqa: S101 - both callers have asked
        if suite in _ROLLING:
            return [(self.archive, (suite,))]
        rows: list[tuple[str, tuple[str, ...]]] = [(self.archive, (suite, f"{suite}-updates"))]
        if self.security is not None:
            rows.append((self.security, (f"{suite}-security",)))
        return rows


def find_mirrors(
    option: str | None,
    *,
    suite: str,
    etc: Path = Path("/etc"),
    settings: Mapping[str, str] | None = None,
) -> Mirrors:
    """Find out where packages come from.

    Args:
        option: the archive's URI as the user gave it, if they did.
        suite: the suite whose security archive is looked for where only the archive is known.
        etc: the host's configuration folder.
        settings: apt's settings by name; asked of ``apt-config`` if None.

    Raises:
        InputError: PVB303, the option is not an http or https URI.
    """
    options = _options(apt_settings() if settings is None else settings)
    if option is not None:
        if not re.fullmatch(r"https?://[^\s\"';]+", option):
            raise InputError(
                f"`{option}` is not a mirror", code="PVB303", hint="give the http:// or https:// address of an archive"
            )
        archive = option.rstrip("/")
        return Mirrors(
            archive=archive, security=_beside(archive, suite, options), options=options, origin="the option --mirror"
        )
    release = _os_release(etc)
    if release.get("ID") != "debian":
        return Mirrors(archive=None, security=None, options=options, origin="the tools' defaults")
    codename = release.get("VERSION_CODENAME", "")
    sources = read_sources(etc / "apt")
    main = _best(sources, {codename, "stable", "testing", "unstable", "sid"} - {""})
    if main is None:
        return Mirrors(archive=None, security=None, options=options, origin="the tools' defaults")
    secure = _best(sources, {f"{codename}-security", "stable-security", f"{codename}/updates"})
    security = secure.uri if secure is not None else _beside(main.uri, suite, options)
    return Mirrors(archive=main.uri, security=security, options=options, origin=main.place)


def read_sources(apt: Path) -> list[Source]:
    """Return the enabled binary package sources below an ``/etc/apt``, in apt's order."""
    sources = _one_line(apt / "sources.list")
    folder = apt / "sources.list.d"
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.suffix == ".list":
            sources += _one_line(path)
        elif path.suffix == ".sources":
            sources += _deb822(path)
    return [found for source in sources for found in _resolve(source)]


def apt_settings() -> dict[str, str]:
    """Return apt's settings of this host by name; empty where there is no apt. Proxies of the environment count."""
    settings = {}
    if which("apt-config") is not None:
        for line in run(["apt-config", "dump"]).stdout.splitlines():
            match = re.fullmatch(r'([A-Za-z0-9:._/-]+) "(.*)";', line)
            if match is not None:
                settings[match[1]] = match[2]
    proxies = environment()
    for scheme in ("http", "https"):
        proxy = proxies.get(f"{scheme}_proxy", "")
        if proxy and not any(name.lower() == f"acquire::{scheme}::proxy" for name in settings):
            settings[f"Acquire::{scheme}::Proxy"] = proxy
    return settings


def _options(settings: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Keep what decides whether a mirror is reached: proxies, certificates, retries, clocks. No licence to skip
    signatures, and no script of the host: neither belongs in the tree."""
    kept = []
    for name, value in settings.items():
        parts = name.lower().split("::")
        if len(parts) < 2 or parts[0] != "acquire" or parts[1] not in _KEPT or not value or '"' in value:
            continue
        if "proxy-auto-detect" in parts or "proxyautodetect" in parts:
            continue
        kept.append((name, value))
    return tuple(kept)


def _os_release(etc: Path) -> dict[str, str]:
    """Read os-release(5)."""
    text = read_text(etc / "os-release") or ""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip().strip("\"'") for name, value in pairs}


def _best(sources: Sequence[Source], suites: set[str]) -> Source | None:
    """Return the source that is most likely Debian's own: third parties use Debian's suite names too."""
    fitting = [source for source in sources if suites & set(source.suites) and "main" in source.components]

    def trust(source: Source) -> int:
        own_key = "debian-archive" in source.signed_by
        own_path = re.search(r"/debian(-security)?$", source.uri) is not None
        return 2 * own_key + own_path

    best = max(fitting, key=trust, default=None)
    # somebody else's key, and a path that is not Debian's: no mirror of Debian
    return None if best is None or (best.signed_by and trust(best) == 0) else best


def _one_line(path: Path) -> list[Source]:
    sources = []
    for line in (read_text(path) or "").splitlines():
        match = re.match(r"\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s*([^#]*)", line)
        if match is None:
            continue
        options = dict(word.split("=", 1) for word in (match[1] or "").split() if "=" in word)
        sources.append(
            Source(
                uri=match[2],
                suites=(match[3],),
                components=tuple(match[4].split()),
                signed_by=options.get("signed-by", ""),
                place=str(path),
            )
        )
    return sources


def _deb822(path: Path) -> list[Source]:
    sources = []
    for stanza in re.split(r"\n[ \t]*\n", read_text(path) or ""):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line.startswith("#"):
                continue
            if line[:1] in (" ", "\t") and name:
                fields[name] += f" {line.strip()}"
            elif ":" in line:
                name, value = line.split(":", 1)
                name = name.strip().lower()
                fields[name] = value.strip()
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in ("no", "false", "0"):
            continue
        sources += [
            Source(
                uri=uri,
                suites=tuple(fields.get("suites", "").split()),
                components=tuple(fields.get("components", "").split()),
                signed_by=fields.get("signed-by", ""),
                place=str(path),
            )
            for uri in fields.get("uris", "").split()
        ]
    return sources


def _resolve(source: Source) -> list[Source]:
    """Follow a list of mirrors to its first entry; drop what only this host can reach (cdrom, file)."""
    uri = source.uri
    if uri.startswith("mirror+file:"):
        lines = (read_text(Path(re.sub(r"^mirror\+file:/*", "/", uri))) or "").split()
        uri = next((word for word in lines if word.startswith(("http://", "https://"))), "")
    if not uri.startswith(("http://", "https://")):
        return []
    return [
        Source(
            uri=uri.rstrip("/"),
            suites=source.suites,
            components=source.components,
            signed_by=source.signed_by,
            place=source.place,
        )
    ]


def _beside(archive: str, suite: str, options: Sequence[tuple[str, str]]) -> str | None:
    """Return the security archive that mirrors keep beside the archive, if one answers there."""
    if suite in _ROLLING:
        return None
    security = f"{archive}-security"
    return security if ask(security, f"{suite}-security", options) is Answer.YES else None


def _stanza(uri: str, suites: Sequence[str], components: Sequence[str]) -> str:
    return (
        f"Types: deb\nURIs: {uri}\nSuites: {' '.join(suites)}\nComponents: {' '.join(components)}\n"
        f"Signed-By: {KEYRING}\n"
    )
