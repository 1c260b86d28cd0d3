"""A plan as a complete mkosi tree (mkosi 25.3), which plain mkosi builds.

The tree holds no mirror and no path of the machine: both are inputs of the build.
"""

from __future__ import annotations

import uuid
from pathlib import PurePosixPath

from podvm_builder.catalog.load import catalogue
from podvm_builder.errors import InputError
from podvm_builder.guest.components import SELFTEST, selftest
from podvm_builder.guest.files import template_files
from podvm_builder.guest.payload import payload
from podvm_builder.model.plan import Plan
from podvm_builder.model.recipe import RecipeFile, RecipeTree
from podvm_builder.recipes.templates import render_template

ESP_MIB = 36
"""Size of the ESP: FAT32 with 512-byte clusters needs 33 MiB whatever it holds; the UKI has some 18."""

BOOT_MIB = 128
"""Size of the partition that kernel and initrd stand in where there is no EFI: Power's kernel alone has some 50."""

EXECUTABLE = ("mkosi.finalize", "mkosi.postoutput", "initrd-init")


def render(plan: Plan, components: RecipeTree) -> RecipeTree:
    """Return the recipe of a plan: path to file, sorted.

    Args:
        plan: what to build.
        components: path in the image, without the leading slash, to file; see :mod:`podvm_builder.guest.components`.

    Raises:
        InputError: a value cannot be written in mkosi's configuration.
    """
    arch = catalogue().architectures[plan.target.arch]
    values = {
        "plan": plan,
        "arch": arch.mkosi,
        "loader": arch.loader,
        "encrypted": catalogue().tees[plan.target.tee].encrypted,
        "image_id": image_name(plan, components),
        "seed": seed(plan.ids.rootfs),
        "esp_mib": ESP_MIB,
        "boot_mib": BOOT_MIB,
    }
    for setting, items, separators in (
        ("kernel.cmdline", plan.kernel.cmdline, " \t"),
        ("kernel.modules", plan.kernel.modules, ","),
        ("kernel.initrd_modules", plan.kernel.initrd_modules, ","),
        ("packages", plan.packages, ","),
        ("image.remove", plan.image.remove, ","),
    ):
        for item in items:
            _check(setting, item, separators)
    tree: dict[str, RecipeFile] = {}
    for folder in ("mkosi", f"loaders/{arch.loader}"):
        for template, raw in template_files(folder).items():
            name = template.removesuffix(".j2")
            data = raw if name == template else render_template(f"{folder}/{template}", values)
            tree[name] = RecipeFile(data=data, mode=0o755 if PurePosixPath(name).name in EXECUTABLE else 0o644)
    tree |= {f"mkosi.extra/{path}": file for path, file in payload(plan, components).items()}
    return {path: tree[path] for path in sorted(tree)}


def image_name(plan: Plan, components: RecipeTree) -> str:
    """Return the image's name, which os-release holds as ``IMAGE_ID``: it says selftest and debug.

    One stand-in among the components is enough, wherever it came from.
    """
    stand_ins = {file.data for file in selftest().values()}
    found = any(file.data in stand_ins for file in components.values())
    words = ["podvm", SELFTEST if found else "", plan.target.variant]
    return "-".join(word for word in words if word and word != "production")


def seed(rootfs_id: str) -> str:
    """Return the seed of all identifiers of the disk: a UUID (RFC 9562, version 8) from the root's identity."""
    raw = bytearray(bytes.fromhex(rootfs_id)[:16])
    raw[6] = raw[6] & 0x0F | 0x80
    raw[8] = raw[8] & 0x3F | 0x80
    return str(uuid.UUID(bytes=bytes(raw)))


def _check(setting: str, item: str, separators: str) -> None:
    """Refuse what mkosi would read as something else: items of a list are lines, which may be split further."""
    if not item or item != item.strip() or item[0] in "#;[" or any(c in item for c in "\n\r\0" + separators):
        raise InputError(f"{item!r} in `{setting}` cannot stand in an mkosi configuration", code="PVB403")
