"""The payload: every file that the image gets besides its packages, the same whichever builder bakes it.

Paths, units and the order of activation are cloud-api-adaptor's guest contract (its 0.22 release), so that an
image drops into its clusters; the files are ours. Units start one another through path units: user data
written → attestation-agent → its socket → confidential-data-hub → its socket → kata-agent → its socket →
agent-protocol-forwarder, which listens on port 15150.
"""

from __future__ import annotations

from collections.abc import Mapping

from podvm_builder.catalog.load import catalogue
from podvm_builder.errors import InputError
from podvm_builder.guest.files import template_files
from podvm_builder.guest.setup import UNITS, catalogue_files, setup_files
from podvm_builder.model.plan import Plan
from podvm_builder.model.recipe import RecipeFile, RecipeTree

PRESET = "usr/lib/systemd/system-preset/10-podvm.preset"

REPLACEABLE = frozenset({"usr/local/bin/azure-ready"})
"""Our own programs that a component may stand in for."""

PHASES = ("sysinit", "ready")
"""What systemd's phase units extend PCR 11 with where they are not masked (systemd-pcrphase.service(8)); the two
phases of an initrd are absent, as ours is not systemd."""


def payload(plan: Plan, components: RecipeTree) -> RecipeTree:
    """Return the payload of a plan: path in the image, without the leading slash, to file.

    Args:
        plan: says which units are enabled or masked.
        components: path in the image, without the leading slash, to file; see :mod:`podvm_builder.guest.components`.

    Raises:
        InputError: PVB748, a component would take the place of one of the guest's own files.
    """
    files = {**template_files("guest"), **catalogue_files(catalogue().clouds), **setup_files(plan.guest)}
    for name in plan.target.features:
        files |= template_files(f"features/{name}")
    if plan.guest.ssh_key:
        files |= template_files("ssh")
    if taken := sorted((files.keys() & components.keys()) - REPLACEABLE):
        raise InputError(
            f"a component would take the place of the guest's own `/{taken[0]}`",
            code="PVB748",
            hint="give it another `install` in its set, and lock again",
        )
    tree = {path: RecipeFile(data=data, mode=0o755 if "/bin/" in path else 0o644) for path, data in files.items()}
    tree |= components
    tree[PRESET] = RecipeFile(data=_preset(plan.units))
    # an empty unit file masks a unit as a link to /dev/null does (systemd.unit(5)), and a recipe has no links
    tree |= {f"{UNITS}/{unit}": RecipeFile(data=b"") for unit, state in plan.units.items() if state == "mask"}
    return {path: tree[path] for path in sorted(tree)}


def payload_identity(components: RecipeTree) -> dict[str, bytes]:
    """Return the content that a plan does not spell out but its root file system holds or is made by.

    Its digest belongs into ``rootfs_id``: the components, the guest's files, and the scripts of the recipe.
    """
    scripts = {f"recipe/{path}": data for path, data in template_files("mkosi").items()}
    own = {path: file.data for path, file in components.items()}
    optional = {**template_files("features"), **template_files("ssh")}
    return {**template_files("guest"), **optional, **catalogue_files(catalogue().clouds), **own, **scripts}


def _preset(units: Mapping[str, str]) -> bytes:
    enabled = sorted(unit for unit, state in units.items() if state == "enable")
    lines = [
        "# what the plan enables, and nothing else: the first line that matches a unit counts",
        *(f"enable {u}" for u in enabled),
    ]
    return "\n".join([*lines, "disable *", ""]).encode()
