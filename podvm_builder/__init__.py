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
    from podvm_builder.catalog.ovmf import LAYOUTS as OVMF_LAYOUTS
    from podvm_builder.errors import Finding, FormatError, InputError, PodvmError
    from podvm_builder.formats.acpi import AcpiFiles
    from podvm_builder.formats.acpi import derive_files as derive_acpi_files
    from podvm_builder.formats.efi_siglist import Signature, parse_signature_lists
    from podvm_builder.formats.eventlog import EventLog, parse_event_log
    from podvm_builder.formats.eventlog_replay import check as check_event_log
    from podvm_builder.formats.eventlog_replay import replay as replay_event_log
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
    from podvm_builder.formats.pe import authenticode
    from podvm_builder.formats.platform_profile import encode_profile as encode_platform_profile
    from podvm_builder.formats.platform_profile import parse_profile_document as parse_platform_profile
    from podvm_builder.formats.qcow2 import Qcow2Reader
    from podvm_builder.formats.readers import BytesReader
    from podvm_builder.formats.td_hob import td_hob
    from podvm_builder.formats.varstore import VariableStore, parse_variable_store
    from podvm_builder.measure.artifacts import BootArtifacts, read_boot_artifacts
    from podvm_builder.measure.diff import diff_measurements
    from podvm_builder.measure.explain import explain as explain_register
    from podvm_builder.measure.id_block import read_private_key as read_id_private_key
    from podvm_builder.measure.id_block import sign_id_block, verify_id_block
    from podvm_builder.measure.igvm import igvm_launch_digest, measure_igvm
    from podvm_builder.measure.inputs import Cpu
    from podvm_builder.measure.learn import learn as learn_platform
    from podvm_builder.measure.machine import measure_tpm
    from podvm_builder.measure.rtmr import fold as rtmr_fold
    from podvm_builder.measure.secure_boot import Keys as SecureBootKeys
    from podvm_builder.measure.sev import sev_es_launch_digest, sev_launch_digest
    from podvm_builder.measure.snp import launch_digest as snp_launch_digest
    from podvm_builder.measure.snp import launch_digests as snp_launch_digests
    from podvm_builder.measure.snp_launch import SnpLaunch
    from podvm_builder.measure.snp_launch import firmware_digest as snp_firmware_seed
    from podvm_builder.measure.svsm import place_svsm
    from podvm_builder.measure.tdx import mrtd as tdx_mrtd
    from podvm_builder.measure.tdx_boot import TdxBoot
    from podvm_builder.measure.tdx_boot import firmware_boot as tdx_firmware_boot
    from podvm_builder.measure.tdx_boot import kernel_boot as tdx_kernel_boot
    from podvm_builder.measure.tdx_firmware import TdxFirmware
    from podvm_builder.measure.tdx_firmware import read_firmware as read_tdx_firmware
    from podvm_builder.measure.tdx_machine import TdxMachine
    from podvm_builder.measure.tdx_measure import image_boot as tdx_image_boot
    from podvm_builder.measure.tdx_measure import measure_tdx
    from podvm_builder.measure.tpm import TpmPrediction, predict_tpm
    from podvm_builder.measure.tpm_boot import TpmBoot
    from podvm_builder.measure.userspace import Userspace
    from podvm_builder.measure.userspace import inspect as inspect_userspace
    from podvm_builder.measure.vmm import VMMS, Vmm, find_vmm
    from podvm_builder.model.event import Event
    from podvm_builder.model.measurement import Measurement, MeasurementSet, Status
    from podvm_builder.model.platform import PlatformProfile
    from podvm_builder.model.region import Region

__version__ = "0.1.0"

_PUBLIC = {
    "OVMF_LAYOUTS": "catalog.ovmf:LAYOUTS",
    "VMMS": "measure.vmm",
    "AcpiFiles": "formats.acpi",
    "BootArtifacts": "measure.artifacts",
    "BytesReader": "formats.readers",
    "Cpu": "measure.inputs",
    "Event": "model.event",
    "EventLog": "formats.eventlog",
    "Finding": "errors",
    "FormatError": "errors",
    "IdAuth": "formats.id_block",
    "IdBlock": "formats.id_block",
    "InputError": "errors",
    "KernelHashes": "formats.kernel_hashes",
    "Measurement": "model.measurement",
    "MeasurementSet": "model.measurement",
    "PlatformProfile": "model.platform",
    "PodvmError": "errors",
    "Qcow2Reader": "formats.qcow2",
    "Region": "model.region",
    "SecureBootKeys": "measure.secure_boot:Keys",
    "Signature": "formats.efi_siglist",
    "SnpLaunch": "measure.snp_launch",
    "Status": "model.measurement",
    "TdxBoot": "measure.tdx_boot",
    "TdxFirmware": "measure.tdx_firmware",
    "TdxMachine": "measure.tdx_machine",
    "TpmBoot": "measure.tpm_boot",
    "TpmPrediction": "measure.tpm",
    "Userspace": "measure.userspace",
    "VariableStore": "formats.varstore",
    "Vmm": "measure.vmm",
    "authenticode": "formats.pe",
    "check_event_log": "formats.eventlog_replay:check",
    "decode_id_auth": "formats.id_block",
    "decode_id_block": "formats.id_block",
    "derive_acpi_files": "formats.acpi:derive_files",
    "diff_measurements": "measure.diff",
    "encode_id_auth": "formats.id_block",
    "encode_id_block": "formats.id_block",
    "encode_platform_profile": "formats.platform_profile:encode_profile",
    "explain_register": "measure.explain:explain",
    "find_vmm": "measure.vmm",
    "hash_cmdline": "formats.kernel_hashes",
    "id_key_digest": "formats.id_block:key_digest",
    "igvm_launch_digest": "measure.igvm",
    "inspect_userspace": "measure.userspace:inspect",
    "learn_platform": "measure.learn:learn",
    "measure_igvm": "measure.igvm",
    "measure_tdx": "measure.tdx_measure",
    "measure_tpm": "measure.machine",
    "parse_event_log": "formats.eventlog",
    "parse_signature_lists": "formats.efi_siglist",
    "parse_platform_profile": "formats.platform_profile:parse_profile_document",
    "parse_variable_store": "formats.varstore",
    "place_svsm": "measure.svsm",
    "predict_tpm": "measure.tpm",
    "read_boot_artifacts": "measure.artifacts",
    "read_id_private_key": "measure.id_block:read_private_key",
    "read_tdx_firmware": "measure.tdx_firmware:read_firmware",
    "replay_event_log": "formats.eventlog_replay:replay",
    "rtmr_fold": "measure.rtmr:fold",
    "sev_es_launch_digest": "measure.sev",
    "sev_launch_digest": "measure.sev",
    "sign_id_block": "measure.id_block",
    "snp_firmware_seed": "measure.snp_launch:firmware_digest",
    "snp_launch_digest": "measure.snp:launch_digest",
    "snp_launch_digests": "measure.snp:launch_digests",
    "td_hob": "formats.td_hob",
    "tdx_firmware_boot": "measure.tdx_boot:firmware_boot",
    "tdx_image_boot": "measure.tdx_measure:image_boot",
    "tdx_kernel_boot": "measure.tdx_boot:kernel_boot",
    "tdx_mrtd": "measure.tdx:mrtd",
    "verify_id_block": "measure.id_block",
}
"""Module of each public name, and its name there if it is another; the imports above say the same to type checkers."""

__all__ = [
    "OVMF_LAYOUTS",
    "VMMS",
    "AcpiFiles",
    "BootArtifacts",
    "BytesReader",
    "Cpu",
    "Event",
    "EventLog",
    "Finding",
    "FormatError",
    "IdAuth",
    "IdBlock",
    "InputError",
    "KernelHashes",
    "Measurement",
    "MeasurementSet",
    "PlatformProfile",
    "PodvmError",
    "Qcow2Reader",
    "Region",
    "SecureBootKeys",
    "Signature",
    "SnpLaunch",
    "Status",
    "TdxBoot",
    "TdxFirmware",
    "TdxMachine",
    "TpmBoot",
    "TpmPrediction",
    "Userspace",
    "VariableStore",
    "Vmm",
    "__version__",
    "authenticode",
    "check_event_log",
    "decode_id_auth",
    "decode_id_block",
    "derive_acpi_files",
    "diff_measurements",
    "encode_id_auth",
    "encode_id_block",
    "encode_platform_profile",
    "explain_register",
    "find_vmm",
    "hash_cmdline",
    "id_key_digest",
    "igvm_launch_digest",
    "inspect_userspace",
    "learn_platform",
    "measure_igvm",
    "measure_tdx",
    "measure_tpm",
    "parse_event_log",
    "parse_platform_profile",
    "parse_signature_lists",
    "parse_variable_store",
    "place_svsm",
    "predict_tpm",
    "read_boot_artifacts",
    "read_id_private_key",
    "read_tdx_firmware",
    "replay_event_log",
    "rtmr_fold",
    "sev_es_launch_digest",
    "sev_launch_digest",
    "sign_id_block",
    "snp_firmware_seed",
    "snp_launch_digest",
    "snp_launch_digests",
    "td_hob",
    "tdx_firmware_boot",
    "tdx_image_boot",
    "tdx_kernel_boot",
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
