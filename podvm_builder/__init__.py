"""Build confidential PodVM images and predict, before any boot, what hardware will measure.

The public library: pure functions over bytes, each named here, documented where it is defined, and citing its
specification there. Names are imported when they are first used, so that importing the package costs nothing.

    from podvm_builder import Cpu, snp_launch_digest

    digest = snp_launch_digest(Path("OVMF.fd").read_bytes(), cpu=Cpu.parse("EPYC-v4"), vcpus=4)

All errors are :class:`PodvmError`; whatever is wrong with given bytes is a :class:`FormatError`, and with other inputs
an :class:`InputError`. What is not named in ``__all__`` may change at any time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from podvm_builder.errors import Finding, FormatError, InputError, PodvmError
    from podvm_builder.formats.id_block import (
        IdAuth,
        IdBlock,
        decode_id_auth,
        decode_id_block,
        encode_id_auth,
        encode_id_block,
    )
    from podvm_builder.formats.id_block import key_digest as id_key_digest
    from podvm_builder.formats.kernel_hashes import KernelHashes, hash_cmdline
    from podvm_builder.measure.id_block import read_private_key as read_id_private_key
    from podvm_builder.measure.id_block import sign_id_block, verify_id_block
    from podvm_builder.measure.igvm import igvm_launch_digest, measure_igvm
    from podvm_builder.measure.inputs import Cpu
    from podvm_builder.measure.sev import sev_es_launch_digest, sev_launch_digest
    from podvm_builder.measure.snp import launch_digest as snp_launch_digest
    from podvm_builder.measure.snp import launch_digests as snp_launch_digests
    from podvm_builder.measure.snp_launch import SnpLaunch
    from podvm_builder.measure.snp_launch import firmware_digest as snp_firmware_seed
    from podvm_builder.measure.svsm import place_svsm
    from podvm_builder.measure.tdx import mrtd as tdx_mrtd
    from podvm_builder.measure.vmm import VMMS, Vmm, find_vmm
    from podvm_builder.model.measurement import Measurement, Status
    from podvm_builder.model.region import Region

__version__ = "0.1.0"

_PUBLIC = {
    "VMMS": "measure.vmm",
    "Cpu": "measure.inputs",
    "Finding": "errors",
    "FormatError": "errors",
    "IdAuth": "formats.id_block",
    "IdBlock": "formats.id_block",
    "InputError": "errors",
    "KernelHashes": "formats.kernel_hashes",
    "Measurement": "model.measurement",
    "PodvmError": "errors",
    "Region": "model.region",
    "SnpLaunch": "measure.snp_launch",
    "Status": "model.measurement",
    "Vmm": "measure.vmm",
    "decode_id_auth": "formats.id_block",
    "decode_id_block": "formats.id_block",
    "encode_id_auth": "formats.id_block",
    "encode_id_block": "formats.id_block",
    "find_vmm": "measure.vmm",
    "hash_cmdline": "formats.kernel_hashes",
    "id_key_digest": "formats.id_block:key_digest",
    "igvm_launch_digest": "measure.igvm",
    "measure_igvm": "measure.igvm",
    "place_svsm": "measure.svsm",
    "read_id_private_key": "measure.id_block:read_private_key",
    "sev_es_launch_digest": "measure.sev",
    "sev_launch_digest": "measure.sev",
    "sign_id_block": "measure.id_block",
    "snp_firmware_seed": "measure.snp_launch:firmware_digest",
    "snp_launch_digest": "measure.snp:launch_digest",
    "snp_launch_digests": "measure.snp:launch_digests",
    "tdx_mrtd": "measure.tdx:mrtd",
    "verify_id_block": "measure.id_block",
}
"""Module of each public name, and its name there if it is another; the imports above say the same to type checkers."""

__all__ = [
    "VMMS",
    "Cpu",
    "Finding",
    "FormatError",
    "IdAuth",
    "IdBlock",
    "InputError",
    "KernelHashes",
    "Measurement",
    "PodvmError",
    "Region",
    "SnpLaunch",
    "Status",
    "Vmm",
    "__version__",
    "decode_id_auth",
    "decode_id_block",
    "encode_id_auth",
    "encode_id_block",
    "find_vmm",
    "hash_cmdline",
    "id_key_digest",
    "igvm_launch_digest",
    "measure_igvm",
    "place_svsm",
    "read_id_private_key",
    "sev_es_launch_digest",
    "sev_launch_digest",
    "sign_id_block",
    "snp_firmware_seed",
    "snp_launch_digest",
    "snp_launch_digests",
    "tdx_mrtd",
    "verify_id_block",
]


def __getattr__(name: str) -> object:
    """Import a public name at its first use (PEP 562)."""
    if name not in _PUBLIC:
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    from importlib import import_module

    module, _, own = _PUBLIC[name].partition(":")
    value: object = getattr(import_module(f"{__name__}.{module}"), own or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names with those that are there already."""
    return sorted({*globals(), *__all__})
