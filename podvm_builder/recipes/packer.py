"""A plan as a Packer template (HCL2), with everything that it uploads and runs.

The template changes a vendor's image: its kernel and boot loader stay. The guest's files are those that mkosi bakes,
one by one the same bytes. The ``packer`` block, which releases before 1.7 cannot read, is a file of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from podvm_builder.catalog.entries import PackerDistro
from podvm_builder.catalog.load import catalogue
from podvm_builder.catalog.packer import packer_facts
from podvm_builder.guest.files import template_files
from podvm_builder.guest.payload import payload
from podvm_builder.model.plan import Plan
from podvm_builder.model.recipe import RecipeFile, RecipeTree
from podvm_builder.recipes.hcl import aligned
from podvm_builder.recipes.mkosi import image_name
from podvm_builder.recipes.templates import render_template

MARK = b"# podvm-build: a Packer template; what it is made of is in docs/packer.md\n"
"""First line of ``plugins.pkr.hcl``, by which a rendered template is known."""

COPIED = ("amazon-ebssurrogate",)
"""Builders whose image is a second disk, which the last step fills."""

ROOT_WORDS = ("systemd.volatile=state", "systemd.gpt_auto=no")
"""Words of the command line that go with our own root file system: a vendor's keeps state in /var, and may find its
partitions by their types."""


def render_packer(plan: Plan, components: RecipeTree) -> RecipeTree:
    """Return the template of a plan: path to file, sorted.

    Args:
        plan: what to build; its builder is ``packer``.
        components: path in the image, without the leading slash, to file; see :mod:`podvm_builder.guest.components`.

    Raises:
        InputError: as :func:`podvm_builder.guest.payload.payload`.
    """
    known = catalogue()
    distro, cloud = known.distros[plan.target.distro].packer, known.clouds[plan.target.cloud].packer
    assert distro is not None and cloud is not None  # noqa: S101 - planning has refused all others
    builder = packer_facts().builders[cloud.builder]
    base = distro.bases.get(builder.name, {}) if plan.target.arch == "x86_64" else {}
    steps = step_names(distro)
    values: Mapping[str, Any] = {
        "plan": plan,
        "facts": packer_facts(),
        "builder": builder,
        "distro": distro,
        "cloud": {**cloud.values, **cloud.tees.get(plan.target.tee, {})},
        "base": _Absent(base),
        "user": base.get("user", distro.user),
        "target": str(plan.target),
        "label": plan.target.folder.replace(".", "-"),
        "plan_label": plan.ids.plan[:32],
        "image_name": f"{image_name(plan, components)}-{plan.target.folder}".replace(".", "-"),
        "steps": steps,
        "copy_disk": builder.name in COPIED,
    }
    files = {
        "plugins.pkr.hcl": MARK + _hcl("plugins.pkr.hcl.j2", values),
        "variables.pkr.hcl": _hcl("variables.pkr.hcl.j2", values),
        "source.pkr.hcl": _hcl(f"builders/{builder.name}.pkr.hcl.j2", values),
        "build.pkr.hcl": _hcl("build.pkr.hcl.j2", values),
    }
    scripts = template_files("packer/scripts")
    last = template_files("packer/last")
    wanted = [*steps, *(["10-register.sh", "70-unregister.sh"] if distro.registration else [])]
    files |= {f"scripts/{name}": scripts[name] for name in wanted}
    if builder.stop == "api":
        files["scripts/90-finish.sh"] = scripts["90-finish.sh"]
        if builder.name in COPIED:
            files["last/copy-disk.sh"] = last["copy-disk.sh"]
    else:
        files |= {"last/finish.sh": scripts["90-finish.sh"], "last/power-off.sh": last["power-off.sh"]}
    guest = payload(plan, components)
    files |= {
        "lists/packages": _lines(name for name in plan.packages if name != plan.kernel.package),
        "lists/cmdline": _lines(word for word in plan.kernel.cmdline if word not in ROOT_WORDS),
        "lists/payload": _lines(
            f"{file.mode:04o} {hashlib.sha256(file.data).hexdigest()} {path}" for path, file in guest.items()
        ),
    }
    tree = {path: RecipeFile(data=data, mode=_mode(path)) for path, data in files.items()}
    tree |= {f"payload/{path}": file for path, file in guest.items()}
    return {path: tree[path] for path in sorted(tree)}


def step_names(distro: PackerDistro) -> tuple[str, ...]:
    """Return the scripts that run in the machine, in order; registration and the last one stand apart."""
    return (
        f"20-packages-{distro.manager}.sh",
        "30-payload.sh",
        "40-cmdline.sh",
        *(("50-labels.sh",) if distro.selinux else ()),
        "60-units.sh",
        *(("70-unregister.sh",) if distro.registration else ()),
        "80-clean.sh",
    )


class _Absent(dict[str, str]):
    """A mapping whose absent names are empty, as templates ask whether there is one."""

    def __missing__(self, key: str) -> str:
        return ""


def _hcl(name: str, values: Mapping[str, Any]) -> bytes:
    return aligned(render_template(f"packer/{name}", values).decode()).encode()


def _lines(items: Iterable[str]) -> bytes:
    return "".join(f"{item}\n" for item in items).encode()


def _mode(path: str) -> int:
    return 0o755 if PurePosixPath(path).suffix == ".sh" else 0o644
