"""Logging in to real registries: names and passwords, tokens, helpers; and where the configuration is found."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from podvm_builder.errors import InputError, Lacking, RemoteError
from podvm_builder.model.oci import Reference
from podvm_builder.tools import oci

pytest.importorskip("requests", reason="the libraries for registries are not installed")

from podvm_builder.tools.oci import BlobStore, DockerConfig, RegistryClient, Retries
from podvm_builder.tools.oci.auth import Challenge, parse_challenges
from tests.support.registry import Fault, Proxy, push_artifact, real_registry, to
from tests.support.token_server import TokenServer

HTPASSWD = "me:$2b$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2\n"
BASIC = base64.b64encode(b"me:correct horse").decode()


def client(folder: Path, auths: Mapping[str, Any] | None = None, **config: Any) -> RegistryClient:
    """Return a client with a store of its own and a configuration of these entries."""
    return RegistryClient(
        store=BlobStore(folder / "store"),
        config=DockerConfig([("config.json", {"auths": auths or {}, **config})]),
        retries=Retries(attempts=1),
    )


def test_a_name_and_a_password(tmp_path: Path) -> None:
    (tmp_path / "htpasswd").write_text(HTPASSWD)
    with real_registry(tmp_path, f"{{htpasswd: {{realm: x, path: {tmp_path / 'htpasswd'}}}}}") as host:
        reference = Reference.parse(f"{host}/team/agent:v1")
        with client(tmp_path, {host: {"auth": BASIC}}) as known:
            manifest, layer = push_artifact(known, reference, [b"layer"], tmp_path)
            assert known.resolve(reference).digest == manifest.digest
            assert known.fetch(reference, layer).read_bytes() == b"layer"
        for auths, why in (
            ({}, "the configuration has none"),
            ({host: {"username": "me", "password": "wrong"}}, "does not take the name and password"),
        ):
            with client(tmp_path, auths) as unknown, pytest.raises(RemoteError, match=why) as caught:
                unknown.resolve(reference)
            assert caught.value.code == "PVB702"
            assert caught.value.exit_code == 5
            assert "wrong" not in str(caught.value)
            assert caught.value.hint is not None
            assert f"docker login {host}" in caught.value.hint


def test_tokens_for_a_name_an_identity_and_anybody(tmp_path: Path) -> None:
    server = TokenServer(tmp_path, basic=BASIC, identity="refresh-me")
    with Proxy(server.answer) as tokens, real_registry(tmp_path, server.auth(f"http://{tokens.host}/token")) as host:
        reference = Reference.parse(f"{host}/team/agent:v1")
        with client(tmp_path, {host: {"auth": BASIC}}) as known:
            manifest, *layers = push_artifact(known, reference, [b"one", b"two"], tmp_path)
            assert known.resolve(reference).digest == manifest.digest
            assert [path.read_bytes() for path in known.fetch_all(reference, layers)] == [b"one", b"two"]
        # one for what is pushed, one for what is pulled
        assert [path.partition("scope=")[2] for _, path, _ in tokens.requests] == [
            "repository%3Ateam%2Fagent%3Apull%2Cpush",
            "repository%3Ateam%2Fagent%3Apull",
        ]
        with client(tmp_path / "identity", {host: {"identitytoken": "refresh-me"}}) as known:
            assert known.resolve(reference).digest == manifest.digest
        assert tokens.requests[-1][0] == "POST"
        with client(tmp_path / "none") as unknown, pytest.raises(RemoteError, match="no token from") as caught:
            unknown.resolve(reference)
        assert caught.value.code == "PVB702"
        server.basic = None
        with client(tmp_path / "anybody") as anybody:
            assert anybody.resolve(reference).digest == manifest.digest


def test_a_token_that_has_run_out_is_got_anew(tmp_path: Path) -> None:
    server = TokenServer(tmp_path)
    with Proxy(server.answer) as tokens, real_registry(tmp_path, server.auth(f"http://{tokens.host}/token")) as host:
        reference = Reference.parse(f"{host}/team/agent:v1")
        with client(tmp_path) as anybody, Proxy(to(host)) as proxy:
            push_artifact(anybody, reference, [b"x"], tmp_path)
            through = Reference.parse(f"{proxy.host}/team/agent:v1")
            anybody.resolve(through)
            before = len(tokens.requests)
            challenge = f'Bearer realm="http://{tokens.host}/token",service="test-registry"'
            proxy.faults = [Fault("/manifests/", status=401, headers={"WWW-Authenticate": challenge})]
            anybody.resolve(through)
            assert len(tokens.requests) == before + 1


def test_credentials_do_not_go_to_a_token_server_without_tls(tmp_path: Path) -> None:
    challenge = {"WWW-Authenticate": 'Bearer realm="http://tokens.invalid/token",service="x"'}
    with Proxy(lambda *_: (401, challenge, b"")) as proxy, client(tmp_path, {proxy.host: {"auth": BASIC}}) as known:
        with pytest.raises(RemoteError, match="plain http") as caught:
            known.resolve(Reference.parse(f"{proxy.host}/team/agent:v1"))
        assert caught.value.code == "PVB706"


def test_a_registry_elsewhere_is_not_asked_by_plain_http(tmp_path: Path) -> None:
    with client(tmp_path) as anybody, pytest.raises(RemoteError) as caught:
        anybody.resolve(Reference.parse("registry.invalid/team/agent:v1"))
    assert "https://registry.invalid" in caught.value.message


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('Basic realm="a, b"', [("basic", {"realm": "a, b"})]),
        ("Negotiate", [("negotiate", {})]),
        (
            'Bearer realm="https://a/t?x=1",service=s,scope="repository:a:pull,push", Basic realm="\\"q\\""',
            [
                ("bearer", {"realm": "https://a/t?x=1", "service": "s", "scope": "repository:a:pull,push"}),
                ("basic", {"realm": '"q"'}),
            ],
        ),
        ("", []),
        ('="', []),
    ],
)
def test_challenges(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert parse_challenges(header) == [Challenge(scheme=scheme, parameters=rest) for scheme, rest in expected]


def helper(folder: Path, name: str, script: str) -> None:
    """Make a credential helper."""
    path = folder / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_helpers_are_asked_by_their_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    helper(tmp_path, "good", 'read server; echo "{\\"Username\\": \\"$1\\", \\"Secret\\": \\"for $server\\"}"')
    helper(tmp_path, "token", 'echo "{\\"Username\\": \\"<token>\\", \\"Secret\\": \\"t\\"}"')
    helper(tmp_path, "bad", "echo secret-words")
    helper(tmp_path, "none", "exit 1")
    rows = {
        "a.test": "good",
        "b.test": "token",
        "c.test": "bad",
        "d.test": "none",
        "e.test": "absent",
        "f.test": "../x",
    }
    config = DockerConfig([("x", {"credHelpers": rows, "credsStore": "good"})])
    found = config.find("a.test").credentials
    assert found is not None
    assert (found.username, found.password) == ("get", "for a.test")
    assert "for a.test" not in repr(found)
    token = config.find("b.test").credentials
    assert token is not None
    assert (token.username, token.identity_token) == ("", "t")
    for host, why in (
        ("c.test", "not of its protocol"),
        ("d.test", "has no"),
        ("e.test", "not installed"),
        ("f.test", ""),
    ):
        nothing = config.find(host)
        assert nothing.credentials is None
        assert why in (nothing.note or "")
        assert "secret-words" not in (nothing.note or "")
    hub = config.find("docker.io").credentials
    assert hub is not None
    assert hub.password.endswith("https://index.docker.io/v1/")


def test_a_helper_that_is_absent_is_named_where_the_registry_refuses(tmp_path: Path) -> None:
    with (
        Proxy(lambda *_: (401, {"WWW-Authenticate": "Basic"}, b"")) as proxy,
        client(tmp_path, credsStore="absent-helper") as known,
        pytest.raises(RemoteError) as caught,
    ):
        known.resolve(Reference.parse(f"{proxy.host}/team/agent:v1"))
    assert "`docker-credential-absent-helper` is not installed" in caught.value.message


def entry(name: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{name}:p".encode()).decode()}


@pytest.mark.parametrize(
    ("registry", "repository", "expected"),
    [
        ("ghcr.io", "team/agent", "ghcr"),
        ("quay.io", "org/app/x", "quay-org"),
        ("quay.io", "other/app", "quay"),
        ("docker.io", "library/busybox", "hub"),
        ("old.test", "a", "old"),
        ("nowhere.test", "a", None),
    ],
)
def test_entries_of_the_configuration(registry: str, repository: str, expected: str | None) -> None:
    auths = {
        "ghcr.io": entry("ghcr"),
        "quay.io": entry("quay"),
        "quay.io/org": entry("quay-org"),
        "https://index.docker.io/v1/": entry("hub"),
        "https://old.test/v2/": entry("old"),
    }
    found = DockerConfig([("x", {"auths": auths})]).find(registry, repository).credentials
    assert (found.username if found else None) == expected


def test_files_count_in_their_order(tmp_path: Path) -> None:
    for name in ("home/.docker/config.json", "docker/config.json", "run/containers/auth.json", "named.json"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"auths": {"a.test": entry(name.partition("/")[0])}}))
    environ = {"HOME": str(tmp_path / "home")}
    expected = "home"
    for add, expected in (
        ({}, "home"),
        ({"XDG_RUNTIME_DIR": str(tmp_path / "run")}, "home"),
        ({"DOCKER_CONFIG": str(tmp_path / "docker")}, "docker"),
        ({"DOCKER_CONFIG": str(tmp_path / "absent")}, "run"),
        ({"REGISTRY_AUTH_FILE": str(tmp_path / "named.json")}, "named.json"),
    ):
        environ |= add
        found = DockerConfig.load(environ).find("a.test").credentials
        assert found is not None
        assert found.username == expected
    assert DockerConfig.load({"HOME": str(tmp_path)}).find("a.test").credentials is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{",
        '{"auths": []}',
        '{"auths": {"a.test": {"auth": "no base 64"}}}',
        '{"auths": {"a.test": {"auth": 1}}}',
    ],
)
def test_a_configuration_that_is_none_shows_nothing_of_itself(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        DockerConfig.load({"REGISTRY_AUTH_FILE": str(path)}).find("a.test")
    assert caught.value.code == "PVB701"
    assert "no base 64" not in caught.value.message
    with pytest.raises(InputError) as caught:
        DockerConfig.load({"REGISTRY_AUTH_FILE": str(tmp_path / "absent")})
    assert caught.value.code == "PVB701"


def test_without_the_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ModuleNotFoundError("no", name="oras")

    monkeypatch.setattr("importlib.import_module", absent)
    with pytest.raises(Lacking) as caught:
        _ = oci.RegistryClient
    assert caught.value.code == "PVB710"
    with pytest.raises(AttributeError):
        _ = oci.Nothing  # type: ignore[attr-defined]
