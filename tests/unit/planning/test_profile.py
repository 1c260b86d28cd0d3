"""Profiles: what is read, and every mistake told in one go with its place."""

from __future__ import annotations

from textwrap import dedent

import pytest

from podvm_builder.errors import InputError, InputErrors
from podvm_builder.planning.profile import Profile, parse_profile
from podvm_builder.report.errors import render_error

HEAD = "schema: 1\ndistro: debian-13\ntee: snp\ncloud: libvirt\n"


def parse(text: str) -> Profile:
    return parse_profile(dedent(text), file="acme.yaml")


def errors(text: str) -> list[InputError]:
    with pytest.raises(InputErrors) as caught:
        parse(text)
    return list(caught.value.errors)


def one_error(text: str) -> InputError:
    (error,) = errors(text)
    return error


def test_a_whole_profile() -> None:
    profile = parse(
        """\
        schema: 1
        name: acme
        distro: [debian-13]
        tee: [snp, tdx]
        cloud: [aws, libvirt]
        arch: x86_64
        variant: [production, debug]
        features: []
        exclude: [{tee: tdx, cloud: aws}]
        components: bin/agents
        kernel:
          package: linux-image-amd64
          cmdline: {append: [mitigations=auto], remove: [audit=0]}
          modules: [fs/erofs/]
          initrd_modules: {append: [drivers/nvme/]}
        packages: {append: [iptables]}
        image: {root_format: squashfs, hostname: pod.example, remove: {append: [/usr/share/man]}}
        units: {ssh.service: mask}
        measure: {phases: true}
        platform:
          firmware: fw/OVMF.fd
          boot: [direct]
          vcpus: [2, 4-6]
          cpus: [EPYC-Milan]
          guest_features: [0x21]
          secure_boot: "off"
        """
    )
    assert profile.name == "acme"
    assert [choice.name for choice in profile.axes["tee"]] == ["snp", "tdx"]
    assert [(edit.key, edit.what) for edit in profile.edits] == [
        ("components", "= bin/agents"),
        ("kernel.package", "= linux-image-amd64"),
        ("kernel.cmdline", "- audit=0"),
        ("kernel.cmdline", "+ mitigations=auto"),
        ("kernel.modules", "= [fs/erofs/]"),
        ("kernel.initrd_modules", "+ drivers/nvme/"),
        ("packages", "+ iptables"),
        ("image.root_format", "= squashfs"),
        ("image.hostname", "= pod.example"),
        ("image.remove", "+ /usr/share/man"),
        ("units", "+ ssh.service: mask"),
        ("measure.phases", "= true"),
        ("platform.firmware", "= fw/OVMF.fd"),
        ("platform.boot", "= [direct]"),
        ("platform.vcpus", "= [2, 4, 5, 6]"),
        ("platform.cpus", "= [EPYC-Milan]"),
        ("platform.guest_features", "= [33]"),
        ("platform.secure_boot", "= off"),
    ]


def test_defaults_of_the_axes_and_the_name() -> None:
    profile = parse_profile(HEAD, file="some/My Profile.yaml")
    assert profile.name == "my-profile"
    assert [choice.name for choice in profile.axes["arch"]] == ["x86_64"]
    assert [choice.name for choice in profile.axes["variant"]] == ["production"]


def test_the_message_of_an_unknown_key() -> None:
    error = one_error(HEAD + "platform: {vcpu: [2, 4]}\n")
    assert render_error(error) == dedent(
        """\
        error[PVB103]: unknown key `vcpu` in `platform`
          --> acme.yaml:5:12
         5 | platform: {vcpu: [2, 4]}
           |            ^^^^ did you mean `vcpus`?"""
    )


def test_every_mistake_is_told_in_one_go_in_the_order_of_the_file() -> None:
    found = errors(
        """\
        schema: 1
        distro: debian-13
        tee: snpp
        cloud: libvirt
        vcpus: 4
        kernel: {cmdline: {append: [roothash=0, "a b"]}, cmdline: []}
        platform: {vcpus: [0, x, 4], cpus: [EPYC-Mlan], secure_boot: off}
        measure: {phases: yes}
        """
    )
    assert [(e.code, e.place.line, e.place.column) for e in found if e.place] == [
        ("PVB102", 3, 6),
        ("PVB103", 5, 1),
        ("PVB117", 6, 29),
        ("PVB117", 6, 41),
        ("PVB107", 6, 50),
        ("PVB117", 7, 23),
        ("PVB102", 7, 37),
        ("PVB108", 7, 62),
        ("PVB108", 8, 19),
    ]


def test_a_key_that_stands_elsewhere_is_suggested() -> None:
    error = one_error(HEAD + "vcpus: 4\n")
    assert error.place is not None
    assert error.place.note == "did you mean `platform.vcpus`?"


def test_all_that_is_missing_is_told() -> None:
    found = errors("name: acme\n")
    assert [error.message for error in found] == [
        "`cloud` is missing",
        "`distro` is missing",
        "`schema` is missing",
        "`tee` is missing",
    ]
    assert {error.code for error in found} == {"PVB105"}


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("variant: dbug", "PVB104", "`variant` must be `production` or `debug`, not `dbug`"),
        ("packages: vim", "PVB104", "`packages` must be a list or a mapping with `append` and `remove`, not `vim`"),
        ("packages: [1]", "PVB104", "`packages` must be text, not the number `1`"),
        ("packages: [[a]]", "PVB104", "`packages` must be text, not a list"),
        ("packages: {apend: [a]}", "PVB103", "unknown key `apend` in `packages`"),
        ("packages: {append: a}", "PVB104", "`packages.append` must be a list, not `a`"),
        ("packages:", "PVB104", "`packages` has no value"),
        ("packages: [~]", "PVB104", "an item of a list has no value"),
        ("measure: {phases: 1}", "PVB104", "`measure.phases` must be `true` or `false`, not the number `1`"),
        ("measure: true", "PVB104", "`measure` must be a mapping, not the truth value `true`"),
        ("components: [a]", "PVB104", "`components` must be text, not a list"),
        ("image: {root_format: ext4}", "PVB104", "`image.root_format` must be `erofs` or `squashfs`, not `ext4`"),
        ("image: {source_date_epoch: 1}", "PVB103", "unknown key `source_date_epoch` in `image`"),
        ("platform: {vmm: ec2}", "PVB103", "unknown key `vmm` in `platform`"),
        ("platform: {vcpus: true}", "PVB104", "`platform.vcpus` must be text, not the truth value `true`"),
        ("platform: {vcpus: 4-1}", "PVB117", "`4-1` is an empty or too long range"),
        ("platform: {vcpus: 1-99999}", "PVB117", "`1-99999` is an empty or too long range"),
        ("platform: {guest_features: [-1]}", "PVB104", None),
        ("platform: {guest_features: [1.5]}", "PVB104", None),
        ("units: {a.service: on}", "PVB108", None),
        ("units: {a.service: disabled}", "PVB104", None),
        ("units: [a.service]", "PVB104", "`units` must be a mapping, not a list"),
        ("exclude: [{}]", "PVB117", "an exclusion names no axis"),
        ("exclude: [{tee: x}]", "PVB102", "unknown TEE `x`"),
        ("exclude: {tee: snp}", "PVB104", "`exclude` must be a list, not a mapping"),
        ("name: Acme", "PVB117", "`Acme` is no profile name"),
        ("name: a/b", "PVB117", "`a/b` is no profile name"),
        ("features: [fpga]", "PVB102", "unknown feature `fpga`"),
        ("features: gpu", "PVB104", "`features` must be a list, not `gpu`"),
    ],
)
def test_mistakes(line: str, code: str, message: str | None) -> None:
    error = next(iter(errors(f"{HEAD}{line}\n")))
    assert (error.code, error.message) == (code, message or error.message)
    assert error.place is not None
    assert error.place.line == 5


@pytest.mark.parametrize("text", ["tee: []", "tee: {append: [snp]}", "tee: 5", "tee: [5]"])
def test_an_axis_is_a_name_or_a_list_of_names(text: str) -> None:
    assert one_error(f"schema: 1\ndistro: debian-13\ncloud: libvirt\n{text}\n").code == "PVB104"


@pytest.mark.parametrize("schema", ["2", "'1'", "one", "1.0", "true"])
def test_another_schema(schema: str) -> None:
    assert one_error(HEAD.replace("schema: 1", f"schema: {schema}")).code == "PVB105"


@pytest.mark.parametrize("text", ["", "- a\n", "text\n", "5"])
def test_what_is_no_mapping(text: str) -> None:
    assert one_error(text).message == "a profile is a mapping of keys to values"


@pytest.mark.parametrize("key", ["components: {}", "platform: {{firmware: {}}}"])
@pytest.mark.parametrize("path", ["/etc", "../up", "a/../../b/x.fd", "..", "a\\b/c", '"a/\\u0007"'])
def test_paths_stay_in_the_profiles_folder(key: str, path: str) -> None:
    found = errors(HEAD + key.format(path) + "\n")
    assert found[0].code in ("PVB113", "PVB102")
    if path != "..":
        assert found[0].code == "PVB113"


@pytest.mark.parametrize("path", ["agents", "bin/agents", "./agents", "a..b/c"])
def test_paths_below_the_profile(path: str) -> None:
    assert parse(f"{HEAD}components: {path}\n").edits[0].value == path


def test_a_firmware_is_a_name_or_a_path() -> None:
    assert parse(HEAD + "platform: {firmware: OVMF.amdsev.fd}\n").edits[0].value == "OVMF.amdsev.fd"
    error = one_error(HEAD + "platform: {firmware: ovmf-amd}\n")
    assert error.place is not None
    assert error.place.note == "did you mean `ovmf-amdsev`?"
