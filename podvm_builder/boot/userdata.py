"""The user data that a machine is given, as cloud-api-adaptor sends it: a cloud-config on a `cidata` disk.

cloud-api-adaptor writes ``write_files`` with the configuration of the guest's agents to ``/run/peerpod``; the
guest's ``process-user-data`` reads ``user-data`` from the volume labelled ``cidata`` and refuses keys and paths
that it does not know.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from podvm_builder.formats.initdata import annotation, write_initdata
from podvm_builder.formats.iso9660 import iso9660
from podvm_builder.guest.userdata import cloud_config

LABEL = "cidata"

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
    return write_initdata(files).toml


def initdata(files: Mapping[str, str]) -> str:
    """Return init data that carries these files, as a pod's annotation has it: TOML, compressed, in base64.

    The same files give the same text.
    """
    return annotation(write_initdata(files)) + "\n"


INITDATA: Mapping[str, str] = {"aa.toml": AA_TOML, "cdh.toml": CDH_TOML}
"""What the init data that is sent carries."""

DEFAULT_FILES: Mapping[str, str] = {
    "aa.toml": AA_TOML,
    "cdh.toml": CDH_TOML,
    "apf.json": APF_JSON,
    "initdata": initdata(INITDATA),
}
"""What is sent unless the caller has its own; without ``aa.toml`` the guest's agents are not started."""


def cidata(files: Mapping[str, str] = DEFAULT_FILES) -> bytes:
    """Return the ISO 9660 image that is attached to the machine."""
    return iso9660(
        LABEL,
        {
            "user-data": cloud_config(files).encode(),
            "meta-data": b"instance-id: podvm-build-boot\nlocal-hostname: podvm\n",
        },
    )
