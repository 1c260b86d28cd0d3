"""What upstream publishes: the tags of kata's and guest-components' artifacts, by TEE and architecture.

Sources: cloud-api-adaptor 0.22, ``podvm/Makefile.inc``; the publishing workflow of guest-components.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches

ARCHITECTURES = ("x86_64", "aarch64", "s390x", "ppc64le")
ATTESTERS = {
    "none": ("x86_64", "s390x", "aarch64", "ppc64le"),
    "amd": ("x86_64",),
    "az-cvm-vtpm": ("x86_64",),
    "tdx": ("x86_64",),
    "cca": ("x86_64", "aarch64"),
    "se": ("s390x",),
}
"""Tags of attestation-agent's artifact: TEE to architectures."""

_MISTAKEN = {
    "snp": "amd",
    "sev": "amd",
    "sev-snp": "amd",
    "amd-snp": "amd",
    "se-attester": "se",
    "az-snp-vtpm": "az-cvm-vtpm",
    "az-tdx-vtpm": "az-cvm-vtpm",
    "azure": "az-cvm-vtpm",
    "intel": "tdx",
}
"""Names of TEEs in the same project's documents that no artifact has, and the tag that is meant."""

ATTESTER_OF_EVIDENCE = {
    "snp": "amd",
    "tdx": "tdx",
    "az-snp-vtpm": "az-cvm-vtpm",
    "az-tdx-vtpm": "az-cvm-vtpm",
    "cca": "cca",
    "se": "se",
    "tpm": "none",
    "none": "none",
}
"""Kind of a target's evidence to the attestation-agent that gives it."""

_MAX_TAG = 128
"""Characters of an OCI tag (distribution specification, "Pulling manifests")."""
_NO_TAG = re.compile(r"[^A-Za-z0-9_.-]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One program of an upstream release."""

    name: str
    repository: str
    """Below the release's registry."""
    member: str
    by_tee: bool = False
    """Whether there is one for each TEE."""


KATA = (Published(name="kata-agent", repository="agent", member="usr/bin/kata-agent"),)
GUEST_COMPONENTS = tuple(
    Published(name=name, repository=name, member=name, by_tee=name == "attestation-agent")
    for name in ("attestation-agent", "confidential-data-hub", "api-server-rest")
)


def wrong_tee(tee: str, arch: str) -> tuple[str, str] | None:
    """Return what is wrong with a TEE's tag and what would be right; None where an artifact has it."""
    if tee not in ATTESTERS:
        near = _MISTAKEN.get(tee) or next(iter(get_close_matches(tee, ATTESTERS, n=1)), None)
        known = f"the tags are {', '.join(ATTESTERS)}"
        return f"no attestation-agent is published for `{tee}`", f"write `{near}`; {known}" if near else known
    if arch not in ATTESTERS[tee]:
        there = [name for name, archs in ATTESTERS.items() if arch in archs]
        return f"no attestation-agent for `{tee}` is published for {arch}", f"for {arch} there are {', '.join(there)}"
    return None


def tag(reference: str, arch: str, tee: str | None = None) -> str:
    """Return the tag of an artifact: the reference, cut where it must be, and what follows it.

    Args:
        reference: a commit, or a release's name, whose characters that no tag may have become ``_``.
        arch: as ``uname -m`` says it.
        tee: for what exists once per TEE.
    """
    suffix = f"-{arch}" if tee is None else f"-{tee}_{arch}"
    return _NO_TAG.sub("_", reference)[: _MAX_TAG - len(suffix)] + suffix
