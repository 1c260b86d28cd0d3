"""Packer templates of every target, and of builders that no cloud of the catalogue goes by."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from types import MappingProxyType

import pytest

from podvm_builder.catalog.cloud import PackerCloud
from podvm_builder.catalog.entries import PackerDistro
from podvm_builder.catalog.load import catalogue
from podvm_builder.guest.components import selftest
from podvm_builder.model.recipe import RecipeTree
from podvm_builder.recipes import packer
from tests.support.plans import packer_plan, packer_recipe, packer_targets

BUILDERS = MappingProxyType(
    {
        "alicloud-ecs": {"instance_type": "ecs.g8i.xlarge"},
        "amazon-ebs": {"instance_type": "m6a.large"},
        "amazon-ebssurrogate": {"instance_type": "m6a.large", "boot_mode": "uefi", "tpm_support": "v2.0"},
        "azure-arm": {
            "vm_size": "Standard_DC4as_v6",
            "security_type": "ConfidentialVM",
            "definition": "ConfidentialVMSupported",
        },
        "googlecompute": {"machine_type": "n2d-standard-4", "features": ("GVNIC", "SEV_SNP_CAPABLE")},
        "ibmcloud-vpc": {"profile": "bx3dc-2x10"},
        "qemu": {"machine_type": "q35"},
        "vsphere-clone": {},
        "vsphere-iso": {"guest_os_type": "rhel9_64Guest"},
    }
)
"""Every builder with the values that its template needs."""

DNF = PackerDistro(manager="dnf", user="cloud-user", registration="rhsm", selinux=True, bases={})


def every_recipe() -> dict[str, RecipeTree]:
    """Return the template of every target, by its folder."""
    return {packer_plan(target).folder: packer_recipe(target) for target in packer_targets()}


@cache
def builder_recipe(name: str) -> RecipeTree:
    """Return the template of a builder, for a distribution with dnf, registration and SELinux."""
    known = catalogue()
    cloud = replace(
        known.clouds["libvirt"],
        packer=PackerCloud(builder=name, architectures=("x86_64",), values=BUILDERS[name], tees={}),
    )
    distro = replace(known.distros["debian-13"], packer=DNF)
    changed = replace(known, clouds={**known.clouds, "libvirt": cloud}, distros={**known.distros, "debian-13": distro})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packer, "catalogue", lambda: changed)
        return packer.render_packer(packer_plan("debian-13/none/libvirt"), selftest())
