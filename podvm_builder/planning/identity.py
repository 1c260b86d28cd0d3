"""The identities of a plan: SHA-256 over canonical JSON (RFC 8785) of exactly the fields listed here.

``rootfs_id``
    What the content of the root file system is made of. Neither the TEE, the cloud, the profile's name nor the
    command line enter it, so that one root serves every target of the same packages and files.
``image_id``
    ``rootfs_id``, and what else the UKI holds: the command line and the initrd's modules.
``plan_id``
    ``image_id``, and everything else that was planned: target, profile, platform, evidence. Left out are what does not
    decide anything: the level of support, the words of reasons and sources, and where values came from. The components'
    path is left out too: their content is in ``rootfs_id``.

A field that is added to :class:`podvm_builder.model.plan.Plan` must be added to one of them; a test holds that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import rfc8785

from podvm_builder.model.plan import POLICIES, GuestPlan, Ids, Plan


def identities(plan: Plan, components_digest: str) -> Ids:
    """Return the identities of a plan, whatever it holds as its own.

    Args:
        plan: the plan.
        components_digest: identity of the components' content, see :func:`components_digest`.
    """
    rootfs = digest(rootfs_fields(plan, components_digest))
    image = digest(image_fields(plan, rootfs))
    return Ids(rootfs=rootfs, image=image, plan=digest(plan_fields(plan, image)))


def rootfs_fields(plan: Plan, components: str) -> dict[str, Any]:
    """Return what ``rootfs_id`` is computed over."""
    return {
        "schema": "podvm-rootfs-id/1",
        "arch": plan.target.arch,
        "variant": plan.target.variant,
        "features": list(plan.target.features),
        "builder": plan.builder,
        "distro": _plain(asdict(plan.distro)),
        "kernel": {"package": plan.kernel.package, "modules": list(plan.kernel.modules)},
        "packages": list(plan.packages),
        "image": _plain(asdict(plan.image)),
        "units": dict(plan.units),
        "measure": _plain(asdict(plan.measure)),
        "guest": _guest(plan.guest),
        "components": components,
        "tools": plan.tools,
    }


def image_fields(plan: Plan, rootfs_id: str) -> dict[str, Any]:
    """Return what ``image_id`` is computed over."""
    return {
        "schema": "podvm-image-id/1",
        "rootfs": rootfs_id,
        "cmdline": list(plan.kernel.cmdline),
        "initrd_modules": list(plan.kernel.initrd_modules),
    }


def plan_fields(plan: Plan, image_id: str) -> dict[str, Any]:
    """Return what ``plan_id`` is computed over."""
    platform = _plain(asdict(plan.platform))
    # 64-bit numbers are beyond the integers of JSON (RFC 8785 §3.2.2.3): as text
    platform["guest_features"] = [hex(value) for value in plan.platform.guest_features]
    return {
        "schema": "podvm-plan-id/1",
        "image": image_id,
        "target": str(plan.target),
        "profile": plan.profile,
        "platform": platform,
        "suppressions": [asdict(one) for one in plan.suppressions],
        "evidence": {
            "kind": plan.evidence.kind,
            "promised": list(plan.evidence.promised),
            "identifies": plan.evidence.identifies,
            "by": list(plan.evidence.by),
        },
        "trust": {name: list(values) for name, values in plan.trust.items()},
    }


def components_digest(content: Mapping[str, bytes]) -> str:
    """Return the identity of content that a plan does not spell out: its paths and their digests.

    Args:
        content: the components and what else goes into the root, see ``guest.payload.payload_identity``.
    """
    listed = {path: hashlib.sha256(data).hexdigest() for path, data in content.items()}
    return digest({"schema": "podvm-components/1", "files": listed})


def digest(value: Any) -> str:
    """Return the SHA-256, in hex, of a value's canonical JSON."""
    return hashlib.sha256(rfc8785.dumps(value)).hexdigest()


def _guest(guest: GuestPlan) -> dict[str, Any]:
    """Return what a plan says of the guest; of documents, which of them there are: their content is a component's."""
    fields = _plain(asdict(guest))
    for name in ("aa", "cdh", "registries", "client_ca", "ca_certificates", "ssh_key"):
        del fields[name]
    if guest.policy not in POLICIES:
        fields["policy"] = "file"
    # whether the forwarder is told of a CA, whether anybody may log in
    return {**fields, "client_ca": bool(guest.client_ca), "ssh": bool(guest.ssh_key)}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
