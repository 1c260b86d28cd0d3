"""Mirrors: what is read from a host's apt configuration, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from podvm_builder.errors import InputError
from podvm_builder.tools import mirror
from podvm_builder.tools.mirror import KEYRING, Mirrors, find_mirrors, read_sources

DEB822 = """\
Types: deb deb-src
# a remark inside a stanza
URIs: http://mirror.invalid/debian/
Suites: bookworm bookworm-updates
Components: main
  contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.invalid/debian-security
Suites: bookworm-security
Components: main
"""


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    (tmp_path / "apt/sources.list.d").mkdir(parents=True)
    (tmp_path / "os-release").write_text('ID=debian\nVERSION_CODENAME="bookworm"\n')
    return tmp_path


@pytest.fixture(autouse=True)
def no_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here asks the network."""
    monkeypatch.setattr(mirror, "_beside", lambda archive, suite, options: f"{archive}-probed")


def find(etc: Path, option: str | None = None, **settings: str) -> Mirrors:
    named = {name.replace("__", "::").replace("_", "-"): value for name, value in settings.items()}
    return find_mirrors(option, suite="trixie", etc=etc, settings=named)


def test_deb822_sources(etc: Path) -> None:
    (etc / "apt/sources.list.d/debian.sources").write_text(DEB822)
    found = find(etc)
    assert found.archive == "http://mirror.invalid/debian"
    assert found.security == "http://mirror.invalid/debian-security"
    assert found.origin.endswith("debian.sources")
    assert read_sources(etc / "apt")[0].components == ("main", "contrib")


def test_one_line_sources(etc: Path) -> None:
    (etc / "apt/sources.list").write_text(
        "# deb http://commented.invalid/debian bookworm main\n"
        "deb cdrom:[Debian 12]/ bookworm main\n"
        "deb-src http://source.invalid/debian bookworm main\n"
        "deb [ arch=amd64 ] http://mirror.invalid/debian bookworm main # why\n"
        "deb http://mirror.invalid/security bookworm-security main\n"
    )
    found = find(etc)
    assert found.archive == "http://mirror.invalid/debian"
    assert found.security == "http://mirror.invalid/security"


def test_the_security_archive_is_looked_for_beside_the_archive(etc: Path) -> None:
    (etc / "apt/sources.list").write_text("deb http://mirror.invalid/debian bookworm main\n")
    assert find(etc).security == "http://mirror.invalid/debian-probed"


def test_a_list_of_mirrors_is_followed(etc: Path) -> None:
    (etc / "mirrors.list").write_text("https://first.invalid/debian\nhttps://second.invalid/debian\n")
    (etc / "apt/sources.list").write_text(f"deb mirror+file://{etc}/mirrors.list bookworm main\n")
    assert find(etc).archive == "https://first.invalid/debian"


@pytest.mark.parametrize(
    "line",
    [
        "deb [signed-by=/usr/share/keyrings/vendor.gpg] https://apt.vendor.invalid bookworm main",
        "deb https://download.vendor.invalid/linux/debian bookworm stable",
        "deb https://pg.invalid/pub bookworm-pgdg main",
    ],
)
def test_third_parties_are_no_mirrors(etc: Path, line: str) -> None:
    (etc / "apt/sources.list").write_text(f"{line}\n")
    assert find(etc).archive is None
    (etc / "apt/sources.list").write_text(f"{line}\ndeb http://mirror.invalid/debian bookworm main\n")
    assert find(etc).archive == "http://mirror.invalid/debian"


def test_disabled_sources_do_not_count(etc: Path) -> None:
    (etc / "apt/sources.list.d/debian.sources").write_text(DEB822.replace("Types: deb", "Enabled: no\nTypes: deb"))
    (etc / "apt/sources.list.d/old.sources.disabled").write_text(DEB822)
    assert find(etc).archive is None


def test_another_distribution_has_no_debian_mirror(etc: Path) -> None:
    (etc / "os-release").write_text("ID=ubuntu\nVERSION_CODENAME=noble\n")
    (etc / "apt/sources.list").write_text("deb http://mirror.invalid/debian noble main\n")
    found = find(etc)
    assert (found.archive, found.security) == (None, None)
    assert found.deb822("trixie", ("main",)) is None
    assert found.one_line("trixie", ("main",)) == []


def test_the_option_wins(etc: Path) -> None:
    (etc / "apt/sources.list").write_text("deb http://mirror.invalid/debian bookworm main\n")
    assert find(etc, "https://mine.invalid/debian/").archive == "https://mine.invalid/debian"


@pytest.mark.parametrize("option", ["mine.invalid", "ftp://mine.invalid", "http://mine.invalid/a b", 'http://x"; y "'])
def test_an_option_that_is_no_mirror(etc: Path, option: str) -> None:
    with pytest.raises(InputError) as caught:
        find(etc, option)
    assert caught.value.code == "PVB303"


def test_source_lists_have_updates_and_security_and_nothing_else() -> None:
    mirrors = Mirrors(archive="http://a.invalid", security="http://s.invalid", options=(), origin="a test")
    assert mirrors.one_line("trixie", ("main", "contrib")) == [
        "deb http://a.invalid trixie main contrib",
        "deb http://a.invalid trixie-updates main contrib",
        "deb http://s.invalid trixie-security main contrib",
    ]
    assert mirrors.deb822("trixie", ("main",)) == (
        "Types: deb\nURIs: http://a.invalid\nSuites: trixie trixie-updates\nComponents: main\n"
        f"Signed-By: {KEYRING}\n\n"
        f"Types: deb\nURIs: http://s.invalid\nSuites: trixie-security\nComponents: main\nSigned-By: {KEYRING}\n"
    )
    assert mirrors.one_line("sid", ("main",)) == ["deb http://a.invalid sid main"]


def test_settings_that_reach_a_mirror_are_kept_and_no_others(etc: Path) -> None:
    kept = find(
        etc,
        Acquire__http__Proxy="http://proxy.invalid:3128",
        Acquire__https__CAInfo="/etc/ssl/own.pem",
        Acquire__Retries="3",
        Acquire__Check_Date="false",
        Acquire__AllowInsecureRepositories="true",
        Acquire__http__Proxy_Auto_Detect="/usr/bin/find-proxy",
        Acquire__https__Verify_Peer="",
        APT__Update__Post_Invoke="rm -rf /",
        Dir__Etc="/elsewhere",
    )
    assert [name for name, _ in kept.options] == [
        "Acquire::http::Proxy",
        "Acquire::https::CAInfo",
        "Acquire::Retries",
        "Acquire::Check-Date",
    ]
    assert kept.files() == {"0-own.pem": "/etc/ssl/own.pem"}
    assert 'Acquire::https::CAInfo "/inside/0-own.pem";\n' in kept.apt_conf("/inside")


def test_proxies_of_the_environment_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:8080")
    monkeypatch.setattr(mirror, "which", lambda name: None)
    assert mirror.apt_settings() == {"Acquire::http::Proxy": "http://proxy.invalid:8080"}
