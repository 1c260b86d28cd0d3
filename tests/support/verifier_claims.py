"""Claims as Trustee's verifiers shape them, written from their description and apart from the product's own."""

from __future__ import annotations

import base64
from typing import Any

SNP_TCB = {"bootloader": 4, "tee": 0, "snp": 22, "microcode": 209}
FACTS: dict[str, tuple[int | str, ...]] = {
    "snp_bootloader": (4,),
    "snp_microcode": (209,),
    "snp_firmware": (22,),
    "snp_tee": (0,),
    "snp_smt": ("enabled",),
    "snp_tsme": ("disabled",),
    "snp_guest_policy": (0x3001F,),
    "snp_launch_digest": ("d1" * 48,),
    "tdx_mrtd": ("d2" * 48,),
    "tdx_mrseam": ("d3" * 48,),
    "tdx_tcb_svn": ("d4" * 16,),
    "tdx_xfam": ("e702060000000000",),
    "tpm_ak": ("TUlJQg==",),
    "cca_implementation": ("f0VMRg==",),
}
"""What the machines below report, as a profile would say it."""


def snp(measurement: bytes, version: tuple[int, int] = (0, 21)) -> dict[str, Any]:
    hexadecimal = version >= (0, 18)
    claims: dict[str, Any] = {
        "policy_abi_major": 0,
        "policy_abi_minor": 31,
        "policy_smt_allowed": True,
        "policy_migrate_ma": False,
        "policy_debug_allowed": False,
        "policy_single_socket": False,
        **{f"reported_tcb_{part}": value for part, value in SNP_TCB.items()},
        "platform_tsme_enabled": False,
        "platform_smt_enabled": True,
    }
    if version < (0, 14):
        claims = {key: str(value).lower() for key, value in claims.items()}
    return {**claims, "measurement": measurement.hex() if hexadecimal else base64.b64encode(measurement).decode()}


def az_snp(pcrs: dict[int, bytes]) -> dict[str, Any]:
    return {**snp(b"\xd1" * 48, (0, 12)), "tpm": tpm_pcrs(pcrs)}


def quote(mrtd: bytes, rtmrs: tuple[bytes, ...] = (bytes(48),) * 4) -> dict[str, Any]:
    return {
        "quote": {
            "header": {
                "version": "0400",
                "att_key_type": "0200",
                "tee_type": "81000000",
                "reserved": "00000000",
                "vendor_id": "939a7233f79c4ca9940a0db3957f0607",
                "user_data": "00" * 20,
            },
            "body": {
                "tcb_svn": "d4" * 16,
                "mr_seam": "d3" * 48,
                "mrsigner_seam": "00" * 48,
                "seam_attributes": "00" * 8,
                "td_attributes": "0000001000000000",
                "xfam": "e702060000000000",
                "mr_td": mrtd.hex(),
                "mr_config_id": "00" * 48,
                "mr_owner": "00" * 48,
                "mr_owner_config": "00" * 48,
                **{f"rtmr_{index}": value.hex() for index, value in enumerate(rtmrs)},
                "report_data": "ab" * 64,
            },
        },
        "td_attributes": {
            "debug": False,
            "key_locker": False,
            "perfmon": False,
            "protection_keys": False,
            "septve_disable": True,
        },
        "tcb_status": "UpToDate",
        "advisory_ids": [],
        "collateral_expiration_status": "0",
    }


def az_tdx(pcrs: dict[int, bytes]) -> dict[str, Any]:
    return {**quote(b"\xd2" * 48), "tpm": tpm_pcrs(pcrs)}


def tpm_pcrs(pcrs: dict[int, bytes]) -> dict[str, str]:
    return {f"pcr{index:02d}": pcrs.get(index, bytes(32)).hex() for index in range(24)}


def tpm(pcrs: dict[int, bytes]) -> dict[str, Any]:
    return {"ak_public": "TUlJQg==", **tpm_pcrs(pcrs)}


def se(tag: bytes, image_phkh: bytes) -> dict[str, Any]:
    return {
        "cuid": "0c" * 16,
        "version": 1,
        "image_phkh": image_phkh.hex(),
        "attestation_phkh": image_phkh.hex(),
        "tag": tag.hex(),
    }


def cca(rim: bytes, rems: tuple[bytes, ...]) -> dict[str, Any]:
    return {
        "realm": {
            "cca-realm-personalization-value": base64.b64encode(bytes(64)).decode(),
            "cca-realm-initial-measurement": base64.b64encode(rim).decode(),
            "cca-realm-extensible-measurements": [base64.b64encode(rem).decode() for rem in rems],
            "cca-realm-hash-algo-id": "sha-256",
            "cca-realm-challenge": base64.b64encode(bytes(64)).decode(),
        },
        "platform": {
            "cca-platform-instance-id": base64.b64encode(b"\x01" + bytes(32)).decode(),
            "cca-platform-implementation-id": "f0VMRg==",
        },
    }
