"""The user data that a machine is given, as cloud-api-adaptor sends it: a cloud-config on a `cidata` disk.

cloud-api-adaptor writes ``write_files`` with the configuration of the guest's agents to ``/run/peerpod``; the
guest's ``process-user-data`` reads ``user-data`` from the volume labelled ``cidata`` and refuses keys and paths
that it does not know.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping

from podvm_builder.formats.iso9660 import iso9660

LABEL = "cidata"
FOLDER = "/run/peerpod"

AA_TOML = """\
[token_configs]
[token_configs.coco_as]
url = "http://127.0.0.1:8080"

[token_configs.kbs]
url = "http://127.0.0.1:8080"
"""

CDH_TOML = """\
socket = "unix:///run/confidential-containers/cdh.sock"
credentials = []

[kbc]
name = "cc_kbc"
url = "http://127.0.0.1:8080"
"""

APF_JSON = (
    json.dumps(
        {
            "pod-network": {
                "podip": "10.244.0.2/24",
                "pod-hw-addr": "0a:58:0a:f4:00:02",
                "interface": "eth0",
                "worker-node-ip": "10.0.2.2/24",
                "tunnel-type": "vxlan",
                "routes": [{"Dst": "", "GW": "10.244.0.1", "Dev": "eth0"}],
                "mtu": 1450,
                "index": 0,
                "vxlan-port": 4789,
                "vxlan-id": 555000,
                "dedicated": False,
            },
            "pod-namespace": "default",
            "pod-name": "boot-proof",
        },
        indent=2,
    )
    + "\n"
)


def initdata_text(files: Mapping[str, str]) -> bytes:
    """Return the TOML of init data that carries these files; its digest is SHA-256."""
    lines = ['algorithm = "sha256"', 'version = "0.1.0"', "", "[data]"]
    lines += [f"\"{name}\" = '''\n{content}'''" for name, content in files.items()]
    return ("\n".join(lines) + "\n").encode()


def initdata(files: Mapping[str, str]) -> str:
    """Return init data that carries these files, as a pod's annotation has it: TOML, compressed, in base64.

    Specification: Confidential Containers "Initdata Specification" 0.1.0. The same files give the same text.
    """
    # the byte of the operating system differs from one version of Python to another
    data = bytearray(gzip.compress(initdata_text(files), mtime=0))
    data[9] = 255
    return base64.b64encode(data).decode() + "\n"


INITDATA: Mapping[str, str] = {"aa.toml": AA_TOML, "cdh.toml": CDH_TOML}
"""What the init data that is sent carries."""

DEFAULT_FILES: Mapping[str, str] = {
    "aa.toml": AA_TOML,
    "cdh.toml": CDH_TOML,
    "apf.json": APF_JSON,
    "initdata": initdata(INITDATA),
}
"""What is sent unless the caller has its own; without ``aa.toml`` the guest's agents are not started."""


def cloud_config(files: Mapping[str, str]) -> str:
    """Return a cloud-config that writes these files below :data:`FOLDER`, laid out as cloud-api-adaptor does.

    Raises:
        ValueError: a content that a plain YAML block scalar does not keep as it is.
    """
    lines = ["#cloud-config", "write_files:"]
    for name, content in files.items():
        plain = content.endswith("\n") and not content.endswith("\n\n") and not content[0].isspace()
        if not plain or any(ord(c) < 32 and c != "\n" for c in content):
            raise ValueError(f"{name}: a block scalar does not keep this content")
        lines += [f"- path: {FOLDER}/{name}", "  content: |"]
        lines += [f"    {line}" if line else "" for line in content.removesuffix("\n").split("\n")]
    return "\n".join(lines) + "\n"


def cidata(files: Mapping[str, str] = DEFAULT_FILES) -> bytes:
    """Return the ISO 9660 image that is attached to the machine."""
    return iso9660(
        LABEL,
        {
            "user-data": cloud_config(files).encode(),
            "meta-data": b"instance-id: podvm-build-boot\nlocal-hostname: podvm\n",
        },
    )
