"""Upstream's registries and a set that names what they have: kata, guest-components, agents in an image, and pause."""

from __future__ import annotations

from pathlib import Path

from tests.support.elf import elf_program
from tests.support.registry_content import Content, tar_gz, tar_xz, tar_zst
from tests.support.sigstore_ca import OwnSigstore, Workflow

KATA, GUEST = "c" * 40, "d" * 40
KATA_SIGNS = Workflow(repository="kata-containers/kata-containers", commit=KATA)
GUEST_SIGNS = Workflow(repository="confidential-containers/guest-components", commit=GUEST)
AGENTS = ("agent-protocol-forwarder", "process-user-data")
PROGRAMS = {
    name: elf_program(code=name.encode())
    for name in ("kata-agent", "attestation-agent", "confidential-data-hub", "api-server-rest", *AGENTS, "pause")
}


class Upstream:
    """What the registry has, all of it signed by an instance of our own."""

    def __init__(self, content: Content) -> None:
        """Fill the content."""
        self.content = content
        self.sigstore = OwnSigstore()
        self.put("kata/agent", f"{KATA}-x86_64", tar_zst({"./usr/bin/kata-agent": PROGRAMS["kata-agent"]}), KATA_SIGNS)
        for name, tag in (
            ("attestation-agent", f"{GUEST}-amd_x86_64"),
            ("confidential-data-hub", f"{GUEST}-x86_64"),
            ("api-server-rest", f"{GUEST}-x86_64"),
        ):
            self.put(f"guest/{name}", tag, tar_xz({name: PROGRAMS[name]}), GUEST_SIGNS)
        older = {f"usr/bin/{name}": b"older" for name in AGENTS}
        newer = {f"usr/bin/{name}": PROGRAMS[name] for name in AGENTS}
        platforms = {"arm64": [tar_gz({"x": b"x"})], "amd64": [tar_gz(older), tar_gz(newer)]}
        index, _ = content.image("acme/agents", "1", platforms)
        # an image's provenance is that of its index
        content.refer("acme/agents", index, self.sigstore.attest(index.removeprefix("sha256:")))
        content.image("pause", "3.9", {"amd64": [tar_gz({"pause": PROGRAMS["pause"]})]})

    def put(self, name: str, tag: str, layer: bytes, signs: Workflow) -> str:
        """Put a signed artifact there, with a bill of materials beside its provenance."""
        digest = self.content.artifact(name, tag, layer)
        bundle = self.sigstore.attest(digest.removeprefix("sha256:"), workflow=signs)
        self.content.refer(name, digest, b"{}", kind="application/vnd.cyclonedx+json")
        self.content.refer(name, digest, bundle)
        return digest

    def write_set(self, folder: Path, host: str) -> str:
        """Write the set and the trusted root; return the set's text."""
        (folder / "root.json").write_bytes(self.sigstore.trusted_root())
        agents = "".join(
            f'  {name}: {{image: "{host}/acme/agents:1", file: /usr/bin/{name}, verify: {{repository: acme/agents}}}}\n'
            for name in AGENTS
        )
        text = f"""schema: 1
tee: amd
trusted_root: root.json
kata: {{registry: {host}/kata, reference: {KATA}}}
guest-components: {{registry: {host}/guest, reference: {GUEST}}}
pause: {{image: "{host}/pause:3.9", unverified: {{reason: has none}}}}
components:
{agents}"""
        (folder / "set.yaml").write_text(text, encoding="utf-8")
        return text
