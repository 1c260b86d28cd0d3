"""Settings of the guest that are sound each for itself but not together."""

from __future__ import annotations

from podvm_builder.errors import InputError
from podvm_builder.model.axes import Target
from podvm_builder.planning.merge import Merged

_SSH_PORT = 22


def check_guest(target: Target, merged: Merged) -> None:
    """See that the guest's settings go together.

    Raises:
        InputError: PVB123, a choice would leave a production image open; PVB125, two choices contradict each other.
    """
    debug, sftp = target.variant == "debug", "sftp" in target.features
    if merged.values["guest.tls"] == "off":
        if not debug:
            raise _refused(
                merged,
                "guest.tls",
                "the forwarder's TLS is off in a production image: whoever reaches its port commands the kata agent",
                "take `guest.tls` out, or plan the debug variant",
                code="PVB123",
            )
        if merged.text("guest.client_ca"):
            raise _refused(
                merged, "guest.client_ca", "a CA of the forwarder's clients is of no use without TLS", "take one out"
            )
    if merged.text("guest.ssh_key") and not debug and not sftp:
        raise _refused(
            merged,
            "guest.ssh_key",
            "nobody logs in to a production image",
            "take `guest.ssh_key` out, plan the debug variant, or add the feature `sftp`",
            code="PVB123",
        )
    if sftp and not merged.text("guest.ssh_key"):
        raise InputError(
            f"`{target}` gets its user data over SFTP, and there is no key to deliver it with",
            code="PVB125",
            hint="name the file of a public key as `guest.ssh_key`, or `--set guest.ssh_key=id_ed25519.pub`",
        )
    if merged.text("guest.ssh_key") and merged.values["guest.port"] == _SSH_PORT:
        raise _refused(
            merged,
            "guest.port",
            f"port {_SSH_PORT} is the SSH server's, and the forwarder could not listen on it",
            "give the forwarder another port, e.g. 15150",
        )
    for kind in merged.words("guest.bake"):
        if not merged.text(f"guest.{kind}"):
            raise _refused(
                merged, "guest.bake", f"there is no `guest.{kind}` to bake", f"name a file as `guest.{kind}`"
            )


def _refused(merged: Merged, key: str, message: str, hint: str, *, code: str = "PVB125") -> InputError:
    return InputError(message, code=code, place=merged.places[key], hint=hint)
