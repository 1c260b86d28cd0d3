"""The guest's files that a plan or the catalogue decides: what the other files leave open.

Where cloud-api-adaptor's image has an option of its build, the profile has a key of ``guest``, and each of them ends
in a file of the measured root.
"""

from __future__ import annotations

from collections.abc import Mapping

from podvm_builder.catalog.cloud import Cloud
from podvm_builder.guest.config import BAKED
from podvm_builder.guest.policies import POLICY_FOLDER, policy_files
from podvm_builder.model.plan import POLICIES, GuestPlan

UNITS = "etc/systemd/system"
CLOUDS = f"{UNITS}/setup-nat-for-imds.service.d/10-clouds.conf"
METADATA_SERVICES = "usr/local/lib/podvm/metadata-services"
FORWARDER = "etc/default/agent-protocol-forwarder"


def setup_files(guest: GuestPlan) -> dict[str, bytes]:
    """Return what a plan decides: path in the image, without the leading slash, to content."""
    files = {
        FORWARDER: _forwarder(guest),
        "usr/lib/tmpfiles.d/podvm-policy.conf": _text(
            "# what the kata agent goes by unless the user data or initdata brings another",
            f"C /run/peerpod/policy.rego 0644 root root - /{_policy(guest)}",
        ),
        "etc/systemd/resolved.conf.d/10-podvm.conf": _text(
            "# asked only where the network names no server", "[Resolve]", f"FallbackDNS={' '.join(guest.fallback_dns)}"
        ),
    }
    if guest.registry_auth != "delivered":
        files[f"{UNITS}/confidential-data-hub.service.d/10-registry-auth.conf"] = _text(
            "[Service]", f"Environment=CDH_DEFAULT_IMAGE_AUTHENTICATED_REGISTRY_CREDENTIALS={guest.registry_auth}"
        )
    if "policy" in guest.bake and guest.policy in POLICIES:
        files[f"{BAKED}/policy.rego"] = policy_files()[_policy(guest)]
    if guest.bake:
        files[f"{UNITS}/process-user-data.service.d/10-baked.conf"] = _text(
            "# what is part of the measured root goes before what was delivered",
            "[Service]",
            "ExecStartPost=/bin/sh /usr/local/lib/podvm/settle-config",
        )
    if guest.scratch == "always":
        files[f"{UNITS}/scratch-storage.service.d/10-always.conf"] = _text("[Unit]", "ConditionPathExists=")
    elif guest.scratch == "never":
        files |= {f"{UNITS}/scratch-storage.{kind}": b"" for kind in ("path", "service")}
    return files


def catalogue_files(clouds: Mapping[str, Cloud]) -> dict[str, bytes]:
    """Return what the catalogue decides for every image: path in the image to content.

    One root serves every cloud, so all that have a metadata service are in it; the machine says at boot which it is on.
    """
    services = [(name, cloud.metadata) for name, cloud in sorted(clouds.items()) if cloud.metadata is not None]
    conditions = [f'ConditionFirmware=|smbios-field({known.field} = "{known.value}")' for _, known in services]
    rows = [f"{known.field}\t{known.value}\t{known.address}" for _, known in services]
    return {
        CLOUDS: _text("# any of these: the clouds with a metadata service", "[Unit]", *conditions),
        METADATA_SERVICES: _text(*rows),
        **policy_files(),
    }


def _policy(guest: GuestPlan) -> str:
    """Return the policy that is in force where none is delivered, below the root."""
    if guest.policy in POLICIES:
        return f"{POLICY_FOLDER}/{guest.policy}.rego"
    # of one that is to be delivered, nothing but itself may take the place
    return f"{BAKED}/policy.rego" if "policy" in guest.bake else f"{POLICY_FOLDER}/disallow-all-except-setpolicy.rego"


def _forwarder(guest: GuestPlan) -> bytes:
    # -disable-tls and -listen: agent-protocol-forwarder of cloud-api-adaptor 0.22; without a word about TLS,
    # certificate and key are those of apf.json
    tls = "-ca-cert-file /etc/certificates/ca.crt" if guest.client_ca else ""
    if guest.tls == "off":
        tls = "-disable-tls"
    return _text(
        f'TLS_OPTIONS="{tls}"',
        f'OPTIONS="-listen 0.0.0.0:{guest.port}"',
    )


def _text(*lines: str) -> bytes:
    return ("\n".join(lines) + "\n").encode()
