"""The agents' configuration: known keys only, baked or delivered, never both."""

from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from podvm_builder.errors import InputError, InputErrors
from podvm_builder.formats.initdata import annotation
from podvm_builder.guest.config import Document, baked_files, check_documents, delivered
from podvm_builder.guest.deliver import make_initdata
from tests.support.plans import selftest_plan

AA = b'[token_configs.kbs]\nurl = "http://10.0.0.1:8080"\n'
CDH = b'[kbc]\nname = "cc_kbc"\nurl = "http://10.0.0.1:8080"\n'
POLICY = b"package agent_policy\n\ndefault CreateContainerRequest := true\n"
KEY = b"ssh-ed25519 " + b"A" * 68 + b" somebody@example\n"


def documents(**contents: bytes) -> tuple[Document, ...]:
    return tuple(Document(kind=kind, file=f"{kind}.x", data=data) for kind, data in contents.items())


def certificate() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a test")])
    day = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, day, day + datetime.timedelta(days=1))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def said(**contents: bytes) -> list[tuple[str, str, int | None]]:
    with pytest.raises(InputErrors) as caught:
        check_documents(documents(**contents))
    return [(one.code, one.message, one.place.line if one.place else None) for one in caught.value.errors]


def test_sound_documents_pass() -> None:
    check_documents(
        documents(aa=AA, cdh=CDH, policy=POLICY, ssh_key=KEY, client_ca=certificate(), ca_certificates=certificate())
    )


@pytest.mark.parametrize(
    ("kind", "data", "words", "line"),
    [
        ("aa", b"[token_configs.kbs]\nurll = 'x'\n", "unknown key `token_configs.kbs.urll`", 2),
        ("aa", b"[eventlog_config]\neventlog_algorithm = 'sha256'\n", "eventlog_algorithm", 2),
        ("aa", b"[eventlog_config]\ninit_pcr = true\n", "must be a whole number", 2),
        ("aa", b"token_configs = 3\n", "must be a table", 1),
        ("aa", b"a = 1\nb = =\n", "not TOML", 2),
        ("aa", b"\xff", "not UTF-8", None),
        ("cdh", b"[kbc]\nname = 'kbs'\n", "`kbc.name` is missing or unknown", 1),
        ("cdh", b"", "`kbc.name` is missing or unknown", None),
        ("cdh", CDH + b"[[credentials]]\npath = '/etc/x'\nresource_uri = 'kbs:///a/b/c'\n", "is not below", 4),
        ("cdh", CDH + b"[image]\nextra_root_certificates = 'x'\n", "a list of texts", 5),
        ("cdh", CDH + b"[credentials]\npath = 'x'\n", "array of tables", 4),
        ("policy", b"package agent\n", "no `package agent_policy`", None),
        ("client_ca", b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n", "no certificates", None),
        ("ssh_key", b"hello\n", "no public key of SSH", None),
        ("ssh_key", b"# nobody\n", "no public key", None),
        ("registries", b"[[registry]]\nlocaton = 'x'\n", "unknown key `registry.localton`".replace("lt", "t"), 2),
    ],
)
def test_mistakes_are_told_with_their_line(kind: str, data: bytes, words: str, line: int | None) -> None:
    found = [row for row in said(**{kind: data}) if row[0] == "PVB418"]
    assert any(words in message and at == line for _, message, at in found), found


def test_secrets_are_refused() -> None:
    assert said(cdh=CDH + b'[log]\nlevel = "x"\n# Bearer abcdefghijklmnop1234\n')[0][0] == "PVB419"


def test_a_registry_configuration_that_nothing_reads_is_refused() -> None:
    registries = b'[[registry]]\nprefix = "docker.io"\nlocation = "mirror.example"\n'
    assert [row[0] for row in said(registries=registries, cdh=CDH)] == ["PVB420"]
    hub = CDH + b'[image]\nregistry_configuration_uri = "file:///etc/containers/registries.conf"\n'
    check_documents(documents(registries=registries, cdh=hub))


def test_what_is_baked_is_not_delivered() -> None:
    given = documents(aa=AA, cdh=CDH, policy=POLICY, client_ca=b"one\n")
    assert set(baked_files(given, ("cdh",))) == {"etc/podvm/cdh.toml", "etc/certificates/ca.crt"}
    assert delivered(given, ("cdh",)) == {"aa.toml": AA.decode(), "policy.rego": POLICY.decode()}


def test_certificates_make_one_file() -> None:
    given = tuple(Document(kind="ca_certificates", file=name, data=data) for name, data in (("a", b"1"), ("b", b"2\n")))
    assert baked_files(given, ()) == {"usr/local/share/ca-certificates/podvm.crt": b"1\n2\n"}


def test_initdata_of_a_profile() -> None:
    plan = selftest_plan("debian-13/snp/libvirt")
    made = make_initdata((plan,), documents(aa=AA), None)
    assert made.algorithm == "sha256" and made.data == {"aa.toml": AA.decode()}
    assert make_initdata((plan,), documents(aa=AA), "sha512").algorithm == "sha512"


@pytest.mark.parametrize(
    ("target", "given", "algorithm", "code"),
    [
        ("debian-13/snp/libvirt", {}, None, "PVB421"),
        ("debian-13/snp/azure", {"aa": AA}, "sha384", "PVB422"),
        ("debian-13/none/aws", {"aa": AA}, "sha512", "PVB422"),
        ("debian-13/snp/aws", {"policy": POLICY + bytes(range(33, 127)) * 200}, None, None),
    ],
)
def test_initdata_that_would_not_do_is_refused(
    target: str, given: dict[str, bytes], algorithm: str | None, code: str | None
) -> None:
    if code is None:
        assert annotation(make_initdata((selftest_plan(target),), documents(**given), algorithm))
        return
    with pytest.raises(InputError) as caught:
        make_initdata((selftest_plan(target),), documents(**given), algorithm)
    assert caught.value.code == code


def test_too_much_user_data_for_a_cloud_is_refused() -> None:
    import random

    noise = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=40000)).encode()
    with pytest.raises(InputError) as caught:
        make_initdata((selftest_plan("debian-13/snp/aws"),), documents(policy=POLICY + b"# " + noise), None)
    assert caught.value.code == "PVB423"
    make_initdata((selftest_plan("debian-13/snp/libvirt"),), documents(policy=POLICY + b"# " + noise), None)


@pytest.mark.parametrize(
    ("target", "sets", "code"),
    [
        ("debian-13/snp/libvirt", ["guest.bake=[aa]"], "PVB125"),
        ("debian-13/snp/libvirt+debug", ['guest.tls="off"', "guest.client_ca=ca.pem"], "PVB125"),
        ("debian-13/snp/libvirt", ["guest.ssh_key=id.pub"], "PVB123"),
        ("debian-13/snp/libvirt+debug", ["guest.ssh_key=id.pub", "guest.port=22"], "PVB125"),
        ("debian-13/snp/libvirt", ["guest.aa=../aa.toml"], "PVB113"),
        ("debian-13/snp/libvirt", ["guest.aa=/etc/aa.toml"], "PVB113"),
        ("debian-13/snp/libvirt", ["guest.policy=allow"], "PVB117"),
        ("debian-13/snp/libvirt", ["guest.bake=[client_ca]"], "PVB117"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(target: str, sets: list[str], code: str) -> None:
    with pytest.raises(InputErrors) as caught:
        selftest_plan(target, *sets)
    assert caught.value.code == code
