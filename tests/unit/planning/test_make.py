"""Plans: targets, profiles, `--set`, the matrix, and the combinations that cannot work."""

from __future__ import annotations

from textwrap import dedent

import pytest

from podvm_builder.catalog.load import catalogue
from podvm_builder.errors import InputError, InputErrors
from podvm_builder.model.axes import Target
from podvm_builder.model.plan import Plan
from podvm_builder.planning.ask import chosen_components
from podvm_builder.planning.make import make_plan, make_plans
from podvm_builder.planning.profile import parse_profile
from podvm_builder.planning.support import every_target, nearest, why_not

KNOWN = catalogue()
LIBVIRT = "debian-13/snp/libvirt"


def plan(target: str, *sets: str) -> Plan:
    return make_plan(Target.parse(target), KNOWN, sets, components_digest="")


def plans(text: str, *sets: str) -> tuple[Plan, ...]:
    profile = parse_profile(dedent(text), file="acme.yaml")
    return make_plans(profile, KNOWN, sets, components_digest="")


def refused(target: str, *sets: str) -> InputError:
    with pytest.raises(InputErrors) as caught:
        plan(target, *sets)
    (error,) = caught.value.errors
    return error


def test_every_combination_is_planned_or_refused_with_a_reason() -> None:
    targets = list(every_target(KNOWN))
    architectures = sum(len(distro.architectures) for distro in KNOWN.distros.values())
    assert len(targets) == len(set(targets)) == architectures * len(KNOWN.tees) * len(KNOWN.clouds)
    for target in targets:
        if why_not(target, KNOWN) is None:
            assert make_plan(target, KNOWN, components_digest="").target == target
        else:
            assert refused(str(target)).code == "PVB111"


@pytest.mark.parametrize(
    ("target", "reason", "near"),
    [
        ("debian-13/tdx/aws", "no instance type with TDX", "`debian-13/snp/aws` or `debian-13/tdx/alibaba` would do"),
        ("debian-13/sgx/azure", "an enclave inside a process", "`debian-13/tdx/azure` would do"),
        ("debian-13/sgx/aws", "an enclave inside a process", "`debian-13/snp/aws` would do"),
        ("debian-13/se/libvirt", "s390x", "`debian-13/snp/libvirt` or `debian-13/se/libvirt:s390x` would do"),
        ("fedora-43/cca/libvirt", "aarch64", "`fedora-43/snp/libvirt` or `fedora-43/cca/libvirt:aarch64` would do"),
        ("debian-13/cca/gcp+debug", "Linux 6.12", "`debian-13/snp/gcp+debug` would do"),
    ],
)
def test_what_cannot_work_says_why_and_what_is_near(target: str, reason: str, near: str) -> None:
    error = refused(target)
    assert error.code == "PVB111"
    assert reason in error.message
    assert error.hint == near


def test_giving_up_the_tee_is_never_near() -> None:
    for target in every_target(KNOWN):
        assert all(other.tee != "none" or target.tee == "none" for other in nearest(target, KNOWN))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("debian-14/snp/libvirt", "unknown distribution `debian-14`"),
        ("debian-13/snpp/libvirt", "unknown TEE `snpp`"),
        ("debian-13/snp/amazon", "unknown cloud `amazon`"),
        ("debian-13/snp/libvirt:riscv64", "unknown architecture `riscv64`"),
        ("debian-13/snp/libvirt+fpga", "unknown feature `fpga`"),
    ],
)
def test_names_that_do_not_exist(target: str, message: str) -> None:
    error = refused(target)
    assert (error.code, error.message) == ("PVB102", message)


def test_snp_on_ones_own_machine_is_identified_by_its_launch_digest() -> None:
    found = plan(LIBVIRT)
    assert found.profile == LIBVIRT
    assert found.platform.firmware == "ovmf-amdsev"
    assert set(found.platform.boot) == {"direct", "disk"}
    assert found.evidence.by == ("snp.launch_digest",)
    assert found.evidence.identifies


@pytest.mark.parametrize(
    "setting",
    ["platform.firmware=ovmf", "platform.firmware=own.fd", "platform.boot=[disk]", "platform.boot-=direct"],
)
def test_without_kernel_hashes_or_direct_boot_nothing_identifies_the_image(setting: str) -> None:
    evidence = plan(LIBVIRT, setting).evidence
    assert evidence.kind == "snp"
    assert (evidence.identifies, evidence.by) == (False, ())
    assert "firmware only" in evidence.reason


@pytest.mark.parametrize(
    ("target", "kind", "by"),
    [
        ("debian-13/snp/aws", "snp", ()),
        ("debian-13/snp/gcp", "snp", ()),
        ("debian-13/snp/azure", "az-snp-vtpm", ("tpm.pcr04", "tpm.pcr11", "tpm.pcr12")),
        ("debian-13/tdx/azure", "az-tdx-vtpm", ("tpm.pcr04", "tpm.pcr11", "tpm.pcr12")),
        ("debian-13/tdx/gcp", "tdx", ("tdx.rtmr1", "tdx.rtmr2")),
        ("debian-13/tdx/libvirt", "tdx", ("tdx.rtmr1", "tdx.rtmr2")),
        ("debian-13/none/aws", "tpm", ("tpm.pcr04", "tpm.pcr11", "tpm.pcr12")),
    ],
)
def test_what_evidence_identifies(target: str, kind: str, by: tuple[str, ...]) -> None:
    evidence = plan(target).evidence
    assert (evidence.kind, evidence.by, evidence.identifies) == (kind, by, bool(by))


@pytest.mark.parametrize(("cloud", "vmm"), [("libvirt", "qemu"), ("aws", "ec2"), ("gcp", "gce"), ("azure", "hyperv")])
def test_each_cloud_has_its_vmm(cloud: str, vmm: str) -> None:
    assert plan(f"debian-13/snp/{cloud}").platform.vmm == vmm


def test_the_vmgenid_driver_is_kept_out_where_it_stops_the_guest() -> None:
    word = "initcall_blacklist=vmgenid_plaform_driver_init"
    assert [
        target for target in ("snp/aws", "none/aws", "snp/azure") if word in plan(f"debian-13/{target}").kernel.cmdline
    ] == ["snp/aws"]


def test_packages_are_sorted_and_hold_the_kernel() -> None:
    found = plan(LIBVIRT, "packages+=zsh", "kernel.package=linux-image-amd64")
    assert list(found.packages) == sorted(set(found.packages))
    assert {"zsh", "linux-image-amd64"} <= set(found.packages)


def test_phase_units_are_masked_unless_phases_are_measured() -> None:
    unit = "systemd-pcrphase.service"
    assert plan(LIBVIRT).units[unit] == "mask"
    assert unit not in plan(LIBVIRT, "measure.phases=true").units
    assert plan(LIBVIRT, f"units.{unit}=enable").units[unit] == "enable"


def test_units_are_sorted() -> None:
    units = plan(LIBVIRT, "units.a-first.service=mask").units
    assert list(units) == sorted(units)


def test_sets_come_last_and_in_order() -> None:
    found = plan(LIBVIRT, "platform.vcpus=[2,4-6]", "platform.vcpus+=8", "platform.vcpus-=5", "image.hostname='1'")
    assert found.platform.vcpus == (2, 4, 6, 8)
    assert found.image.hostname == "1"


def test_a_set_may_be_a_mapping() -> None:
    assert plan(LIBVIRT, "platform={vcpus: 3, cpus: [EPYC]}").platform.vcpus == (3,)
    assert plan(LIBVIRT, "platform=\n  vcpus: 3\n").platform.vcpus == (3,)


@pytest.mark.parametrize(
    ("text", "code", "column"),
    [
        ("foo", "PVB115", None),
        ("=1", "PVB115", None),
        ("a b=1", "PVB115", None),
        ("kernel.cmdlin=x", "PVB103", 8),
        ("nope.x=1", "PVB103", 1),
        ("platform.vcpus=[0]", "PVB117", 17),
        ("platform.vcpus=[1", "PVB106", 18),
        ("platform.vcpus=", "PVB104", 10),
        ("image.hostname=no", "PVB108", 16),
        ("measure.phases=1", "PVB104", 16),
        ("measure.phases+=true", "PVB104", 9),
        ("components=/abs", "PVB113", 12),
        ("kernel.cmdline-=nope", "PVB112", 17),
        ("tee=sgxx", "PVB102", 5),
        ("platform.boot=[]", "PVB117", 15),
        ("kernel.cmdline=x", "PVB104", 16),
        ("kernel.cmdline=[" + "x" * 1975 + "]", "PVB117", 16),
    ],
)
def test_sets_that_are_wrong(text: str, code: str, column: int | None) -> None:
    error = refused(LIBVIRT, text)
    assert error.code == code
    assert error.place is not None
    assert error.place.file == "--set"
    assert error.place.column == column


def test_every_wrong_set_is_told() -> None:
    with pytest.raises(InputErrors) as caught:
        plan(LIBVIRT, "foo", "a=1", "platform.vcpus=0")
    assert [error.code for error in caught.value.errors] == ["PVB115", "PVB103", "PVB117"]


def test_a_boot_path_that_the_cloud_has_not() -> None:
    error = refused("debian-13/snp/aws", "platform.boot+=direct")
    assert error.code == "PVB117"
    assert error.hint is not None
    assert "disk" in error.hint


def test_nothing_left_to_predict_for() -> None:
    assert refused("debian-13/snp/aws", "platform.boot-=disk").message == "nothing is left in `platform.boot`"


def test_a_matrix_is_in_the_order_of_its_axes() -> None:
    found = plans(
        """\
        schema: 1
        name: acme
        distro: debian-13
        tee: [tdx, snp, snp]
        cloud: [libvirt, aws]
        variant: [production, debug]
        exclude: [{tee: tdx, cloud: [aws, gcp]}, {tee: snp, variant: debug}]
        """.replace("gcp", "libvirt").replace("[aws, libvirt]", "aws"),
    )
    assert [str(one.target) for one in found] == [
        "debian-13/tdx/libvirt",
        "debian-13/tdx/libvirt+debug",
        "debian-13/snp/libvirt",
        "debian-13/snp/aws",
    ]
    assert {one.profile for one in found} == {"acme"}


MATRIX = "schema: 1\ndistro: debian-13\ntee: [snp, tdx]\ncloud: [libvirt, aws]\n"


def matrix_errors(text: str, *sets: str) -> list[tuple[str, int | None]]:
    with pytest.raises(InputErrors) as caught:
        plans(text, *sets)
    return [(error.code, error.place.line if error.place else None) for error in caught.value.errors]


def test_a_matrix_with_a_combination_that_cannot_work() -> None:
    with pytest.raises(InputErrors) as caught:
        plans(MATRIX)
    (error,) = caught.value.errors
    assert error.code == "PVB111"
    assert error.place is not None
    assert (error.place.line, error.place.column) == (3, 12)
    assert error.hint is not None
    assert error.hint.endswith("leave it out with `exclude: [{tee: tdx, cloud: aws}]`")


def test_an_exclusion_that_excludes_nothing() -> None:
    excluded = MATRIX + "exclude:\n  - {tee: tdx, cloud: aws}\n  - {tee: none}\n"
    assert matrix_errors(excluded) == [("PVB114", 7)]


def test_everything_excluded() -> None:
    assert matrix_errors(MATRIX + "exclude: [{distro: debian-13}]\n") == [("PVB114", 5)]


def test_axes_and_exclusions_by_set() -> None:
    found = plans(MATRIX, "tee=[none, tdx]", "exclude=[{tee: tdx, cloud: aws}]")
    assert [str(one.target) for one in found] == [
        "debian-13/none/libvirt",
        "debian-13/none/aws",
        "debian-13/tdx/libvirt",
    ]


def test_a_set_can_make_a_matrix_of_a_target() -> None:
    target = Target.parse(LIBVIRT)
    found = make_plans(target, KNOWN, ["tee=[snp, tdx]"], components_digest="")
    assert [one.profile for one in found] == ["debian-13/snp/libvirt", "debian-13/tdx/libvirt"]
    with pytest.raises(InputError) as caught:
        make_plan(target, KNOWN, ["tee=[snp, tdx]"], components_digest="")
    assert caught.value.code == "PVB119"


def test_an_error_of_several_targets_is_told_once() -> None:
    profile = MATRIX.replace("aws", "azure") + "kernel: {cmdline: {remove: [nope]}}\n"
    assert matrix_errors(profile) == [("PVB112", 5)]


def test_what_the_command_line_chose_may_be_anywhere() -> None:
    (found,) = make_plans(
        Target.parse(LIBVIRT), KNOWN, components_digest="", components="/srv/agents", firmware="/srv/OVMF.fd"
    )
    assert (found.components, found.platform.firmware) == ("/srv/agents", "/srv/OVMF.fd")
    assert found.origins["platform.firmware"][-1].layer == "--firmware"
    assert found.origins["platform.firmware"][-1].place == "command line"


def test_chosen_components() -> None:
    profile = parse_profile(MATRIX + "components: agents\n", file="acme.yaml")
    assert chosen_components(profile, KNOWN) == "agents"
    assert chosen_components(profile, KNOWN, ["components=none"]) == "none"
    assert chosen_components(Target.parse(LIBVIRT), KNOWN) == "selftest"


def test_every_value_has_an_origin() -> None:
    found = plan("debian-13/snp/aws+debug", "kernel.cmdline+=quiet2")
    layers = [origin.layer for origin in found.origins["kernel.cmdline"]]
    order = ["default", "cloud aws", "variant debug", "--set"]
    assert sorted(set(layers), key=layers.index) == order
    assert found.origins["distro.release"][0].what == "= trixie"
    assert found.origins["kernel.package"][-1].layer == "distro debian-13"
    assert all(origins for origins in found.origins.values())
