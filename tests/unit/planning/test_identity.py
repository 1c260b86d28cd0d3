"""Identities: which field enters which, and that none is forgotten."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from podvm_builder.catalog.load import catalogue
from podvm_builder.model.axes import Target
from podvm_builder.model.lint import Suppression
from podvm_builder.model.plan import Ids, Origin, Plan
from podvm_builder.planning.identity import components_digest, identities
from podvm_builder.planning.make import make_plan

DIGEST = components_digest({"usr/local/bin/kata-agent": b"#!/bin/sh\n"})
PLAN = make_plan(Target.parse("debian-13/snp/libvirt"), catalogue(), components_digest=DIGEST)


def changed(**changes: Any) -> tuple[bool, bool, bool]:
    """Say whether rootfs, image and plan id change with fields, given as `group__field` or `field`."""
    plan = PLAN
    for name, value in changes.items():
        group, _, field = name.partition("__")
        plan = replace(plan, **{group: replace(getattr(plan, group), **{field: value}) if field else value})
    after, before = identities(plan, DIGEST), PLAN.ids
    return after.rootfs != before.rootfs, after.image != before.image, after.plan != before.plan


ROOTFS = (True, True, True)
IMAGE = (False, True, True)
ONLY_PLAN = (False, False, True)
NOTHING = (False, False, False)

CHANGES: dict[str, tuple[Any, tuple[bool, bool, bool]]] = {
    "target__distro": ("other", ONLY_PLAN),  # what the name stands for is in `distro`
    "target__tee": ("tdx", ONLY_PLAN),
    "target__cloud": ("azure", ONLY_PLAN),
    "target__arch": ("aarch64", ROOTFS),
    "target__variant": ("debug", ROOTFS),
    "target__features": (("gpu",), ROOTFS),
    "profile": ("acme", ONLY_PLAN),
    "builder": ("packer", ROOTFS),
    "level": ("planned", NOTHING),
    "distro__name": ("fedora", ROOTFS),
    "distro__release": ("sid", ROOTFS),
    "distro__repositories": (("main", "contrib"), ROOTFS),
    "distro__os_id": ("x", ROOTFS),
    "packages": (("a",), ROOTFS),
    "kernel__package": ("a", ROOTFS),
    "kernel__cmdline": (("a",), IMAGE),
    "kernel__modules": (("a",), ROOTFS),
    "kernel__initrd_modules": (("a",), IMAGE),
    "image__root_format": ("ext4", ROOTFS),
    "image__hostname": ("a", ROOTFS),
    "image__source_date_epoch": (0, ROOTFS),
    "image__remove": (("/a",), ROOTFS),
    "units": ({"a.service": "mask"}, ROOTFS),
    "components": ("/another/place", NOTHING),  # their content counts, not where it was
    "measure__phases": (True, ROOTFS),
    "guest__policy": ("disallow-all-except-setpolicy", ROOTFS),
    "guest__registry_auth": ("kbs:///a/b/c", ROOTFS),
    "guest__port": (1, ROOTFS),
    "guest__tls": ("off", ROOTFS),
    "guest__scratch": ("never", ROOTFS),
    "guest__fallback_dns": ((), ROOTFS),
    "guest__aa": ("aa.toml", NOTHING),  # the content of a document that is baked counts, not where it was
    "guest__cdh": ("cdh.toml", NOTHING),
    "guest__registries": ("registries.conf", NOTHING),
    "guest__client_ca": ("ca.pem", ROOTFS),  # the forwarder is told of it
    "guest__ca_certificates": (("ca.pem",), NOTHING),
    "guest__ssh_key": ("id.pub", ROOTFS),
    "guest__bake": (("policy",), ROOTFS),
    "platform__vmm": ("ec2", ONLY_PLAN),
    "platform__firmware": ("x.fd", ONLY_PLAN),
    "platform__boot": (("disk",), ONLY_PLAN),
    "platform__vcpus": ((3,), ONLY_PLAN),
    "platform__cpus": (("EPYC",), ONLY_PLAN),
    "platform__guest_features": (((1 << 64) - 1,), ONLY_PLAN),
    "platform__secure_boot": ("on", ONLY_PLAN),
    "trust": ({"snp_microcode": (1,)}, ONLY_PLAN),
    "evidence__kind": ("tdx", ONLY_PLAN),
    "evidence__promised": ((), ONLY_PLAN),
    "evidence__identifies": (False, ONLY_PLAN),
    "evidence__by": ((), ONLY_PLAN),
    "evidence__reason": ("other words", NOTHING),
    "evidence__source": ("other words", NOTHING),
    "suppressions": ((Suppression(code="PVB821", path="*", reason="x"),), ONLY_PLAN),
    "tools": ("0" * 64, ROOTFS),
    "ids": (Ids(rootfs="", image="", plan=""), NOTHING),
    "origins": ({"a": (Origin(layer="", place="", what=""),)}, NOTHING),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_a_field_changes(name: str) -> None:
    value, wanted = CHANGES[name]
    assert changed(**{name: value}) == wanted


def test_every_field_of_a_plan_is_in_the_table() -> None:
    named = {name.replace("__", ".") for name in CHANGES}
    plain = {
        "builder",
        "components",
        "ids",
        "level",
        "origins",
        "packages",
        "profile",
        "suppressions",
        "tools",
        "trust",
        "units",
    }
    wanted: set[str] = set()
    for field in fields(Plan):
        if field.name in plain:
            wanted.add(field.name)
        else:
            wanted |= {f"{field.name}.{child.name}" for child in fields(getattr(PLAN, field.name))}
    assert named == wanted


def test_one_root_serves_every_cloud_and_tee() -> None:
    # the command lines of the last two have a word of their own
    targets = [
        "debian-13/snp/libvirt",
        "debian-13/snp/gcp",
        "debian-13/tdx/gcp",
        "debian-13/tdx/azure",
        "debian-13/snp/aws",
    ]
    found = [make_plan(Target.parse(target), catalogue(), components_digest=DIGEST).ids for target in targets]
    assert len({ids.rootfs for ids in found}) == 1
    assert len({ids.image for ids in found[:3]}) == 1
    assert len({ids.image for ids in found[2:]}) == 3
    assert len({ids.plan for ids in found}) == len(targets)


def test_the_components_content_is_in_the_root() -> None:
    other = make_plan(Target.parse("debian-13/snp/libvirt"), catalogue(), components_digest="other")
    assert other.ids.rootfs != PLAN.ids.rootfs


def test_the_digest_of_components_is_over_paths_and_content() -> None:
    one = components_digest({"a": b"1", "b": b"2"})
    assert one == components_digest({"b": b"2", "a": b"1"})
    assert (
        len({one, components_digest({"a": b"2", "b": b"1"}), components_digest({"a": b"1"}), components_digest({})})
        == 4
    )
