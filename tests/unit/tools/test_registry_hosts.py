"""Where registries are asked: what a program says, and what the configuration of podman and skopeo says."""

from __future__ import annotations

from pathlib import Path

import pytest

from podvm_builder.errors import InputError
from podvm_builder.tools.oci.hosts import Endpoint, Hosts, is_loopback

CONF = """
unqualified-search-registries = ["docker.io"]
[[registry]]
location = "ghcr.io"
[[registry.mirror]]
location = "mirror.test:5000/ghcr"
insecure = true
[[registry.mirror]]
location = "digests.test"
pull-from-mirror = "digest-only"
[[registry]]
prefix = "ghcr.io/secret"
location = "inside.test/copies"
[[registry]]
prefix = "*.wild.test"
location = "wild-mirror.test"
[[registry]]
location = "bad.test"
blocked = true
[[registry]]
location = "plain.test"
insecure = true
"""


def places(hosts: Hosts, registry: str, repository: str, *, tag: bool = False) -> list[str]:
    return [f"{one.host}/{one.repository}" for one in hosts.places(registry, repository, tag=tag)]


@pytest.fixture
def hosts(tmp_path: Path) -> Hosts:
    (tmp_path / "registries.conf").write_text(CONF)
    return Hosts.load({"HOME": str(tmp_path / "home")}, etc=tmp_path)


def test_mirrors_come_first_for_digests_and_last_for_tags(hosts: Hosts) -> None:
    mirror, digests, own = "mirror.test:5000/ghcr/a/b", "digests.test/a/b", "ghcr.io/a/b"
    assert places(hosts, "ghcr.io", "a/b") == [mirror, digests, own]
    assert places(hosts, "ghcr.io", "a/b", tag=True) == [own, mirror]
    assert hosts.places("other.test", "a", tag=True) == [Endpoint(host="other.test", repository="a")]


def test_the_longest_beginning_counts_and_moves_what_it_covers(hosts: Hosts) -> None:
    assert places(hosts, "ghcr.io", "secret/x") == ["inside.test/copies/x"]
    assert places(hosts, "ghcr.io", "secretive/x")[-1] == "ghcr.io/secretive/x"
    assert places(hosts, "a.wild.test", "x/y") == ["wild-mirror.test/x/y"]


def test_what_is_blocked(hosts: Hosts) -> None:
    with pytest.raises(InputError) as caught:
        hosts.places("bad.test", "x", tag=True)
    assert caught.value.code == "PVB711"


def test_plain_http_is_for_this_machine_and_for_what_was_named(hosts: Hosts) -> None:
    for host in (
        "localhost",
        "localhost:5000",
        "127.0.0.1:1",
        "127.9.9.9",
        "[::1]:5000",
        "plain.test",
        "mirror.test:5000",
    ):
        assert hosts.plain(host), host
    for host in ("ghcr.io", "digests.test", "mirror.test", "localhost.test", "127.0.0.1.test", "[::2]:1", "10.0.0.1"):
        assert not hosts.plain(host), host
    assert not is_loopback("")


def test_files_and_drop_ins_in_their_order(tmp_path: Path) -> None:
    own = tmp_path / "home/.config/containers"
    for path, mirror in (
        (tmp_path / "registries.conf", "etc.test"),
        (tmp_path / "registries.conf.d/10-x.conf", "drop.test"),
        (own / "registries.conf", "own.test"),
        (own / "registries.conf.d/20.conf", "own-drop.test"),
        (tmp_path / "named.conf", "named.test"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        key = path.stem.replace("registries", "base")
        path.write_text(
            f'[[registry]]\nlocation = "{key}.test"\n[[registry.mirror]]\nlocation = "{mirror}"\n'
            f'[[registry]]\nlocation = "all.test"\n[[registry.mirror]]\nlocation = "{mirror}"\n'
        )
    hosts = Hosts.load({"HOME": str(tmp_path / "home")}, etc=tmp_path)
    assert places(hosts, "base.test", "a")[0] == "own.test/a"
    assert places(hosts, "10-x.test", "a")[0] == "drop.test/a"
    assert places(hosts, "all.test", "a") == ["own-drop.test/a", "all.test/a"]
    named = Hosts.load({"CONTAINERS_REGISTRIES_CONF": str(tmp_path / "named.conf")}, etc=tmp_path)
    assert list(named.rules) == ["named.test", "all.test"]
    assert Hosts.load({"HOME": str(tmp_path / "nobody")}, etc=tmp_path / "none") == Hosts()


@pytest.mark.parametrize(
    "text",
    [
        "[[registry",
        "[registries.insecure]\nregistries = []",
        "registry = 1",
        "[[registry]]\nblocked = true",
        "[[registry]]\nlocation = 5",
        '[[registry]]\nlocation = "a.test"\n[[registry.mirror]]\nlocation = "https://b.test"',
        '[[registry]]\nlocation = "a.test"\n[[registry.mirror]]\nlocation = "b.test"\npull-from-mirror = "never"',
    ],
)
def test_a_configuration_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.conf").write_text(text)
    with pytest.raises(InputError) as caught:
        Hosts.load({"CONTAINERS_REGISTRIES_CONF": str(tmp_path / "r.conf")})
    assert caught.value.code == "PVB707"
    assert str(tmp_path / "r.conf") in caught.value.message


def test_a_repository_is_moved_to_a_repository() -> None:
    hosts = Hosts.parse({"ghcr.io/a/b": ["mirror.test"]}, [])
    with pytest.raises(InputError) as caught:
        hosts.places("ghcr.io", "a/b", tag=False)
    assert caught.value.code == "PVB707"
    assert places(hosts, "ghcr.io", "a/b/c") == ["mirror.test/c", "ghcr.io/a/b/c"]
