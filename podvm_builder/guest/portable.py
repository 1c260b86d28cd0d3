"""The payload alone, for a machine that exists already: the files of an image, and a script that sets them up.

What belongs to an image as a whole is left out: presets and masks, which would reach the machine's own units, and its
network and mounts.
"""

from __future__ import annotations

from podvm_builder.guest.files import template_files
from podvm_builder.guest.payload import PRESET, payload
from podvm_builder.guest.setup import UNITS
from podvm_builder.model.plan import Plan
from podvm_builder.model.recipe import RecipeFile, RecipeTree

FOLDER = "podvm"
"""What an archive of the payload unpacks to."""
PROGRAMS = ("bash", "cryptsetup", "ip", "iptables", "losetup", "mke2fs", "mount", "systemctl", "tar", "udevadm")
"""What the payload's units and scripts run of the machine's own."""

_IMAGES_ONLY = ("etc/systemd/network/", "etc/systemd/resolved.conf.d/", f"{UNITS}/tmp.mount")  # noqa: S108 - a unit's name


def portable(plan: Plan, components: RecipeTree) -> RecipeTree:
    """Return the archive's content: path below its root to file, sorted.

    Args:
        plan: what the payload is of.
        components: path in the image, without the leading slash, to file.

    Raises:
        InputError: PVB748, as :func:`podvm_builder.guest.payload.payload`.
    """
    files = {
        path: file
        for path, file in payload(plan, components).items()
        if path != PRESET and not path.startswith(_IMAGES_ONLY) and not _mask(path, file)
    }
    own = {path.rpartition("/")[2] for path in files if path.startswith(f"{UNITS}/")}
    units = sorted(unit for unit, state in plan.units.items() if state == "enable" and unit in own)
    tree = {f"{FOLDER}/root/{path}": file for path, file in files.items()}
    tree[f"{FOLDER}/setup.sh"] = RecipeFile(data=template_files("portable")["setup.sh"], mode=0o755)
    tree[f"{FOLDER}/units"] = _lines(units)
    tree[f"{FOLDER}/programs"] = _lines([*PROGRAMS, "sshd"] if plan.guest.ssh_key else PROGRAMS)
    return {path: tree[path] for path in sorted(tree)}


def _mask(path: str, file: RecipeFile) -> bool:
    return path.startswith(f"{UNITS}/") and not file.data


def _lines(items: list[str] | tuple[str, ...]) -> RecipeFile:
    return RecipeFile(data="".join(f"{item}\n" for item in items).encode())
