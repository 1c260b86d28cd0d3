"""Measurement sets as builds make them, small and with recognisable values."""

from __future__ import annotations

from typing import Any

from podvm_builder.model.measurement import Basis, Identification, Measurement, MeasurementSet, Status
from podvm_builder.refvalues import ExportRequest

IMAGE = Basis(kind="image", digest="sha256:" + "11" * 32)
FIRMWARE = Basis(kind="firmware", digest="sha256:" + "22" * 32)


def predicted(register: str, value: bytes, *basis: Basis, alg: str = "sha384", **variant: str | int) -> Measurement:
    return Measurement(
        register=register, alg=alg, status=Status.PREDICTED, value=value, variant=variant, basis=basis or (IMAGE,)
    )


def unknown(register: str, status: Status, reason: str, alg: str = "sha384") -> Measurement:
    return Measurement(register=register, alg=alg, status=status, reason=reason)


def measurement_set(
    evidence: str, *rows: Measurement, by: tuple[str, ...] = (), flags: tuple[str, ...] = (), reason: str = "a reason"
) -> MeasurementSet:
    return MeasurementSet(
        target="debian-13/snp/libvirt",
        ids={"image": "ab" * 32},
        identifies_image=Identification(value=bool(by), by=by, reason=reason),
        logs={},
        regions={},
        measurements=rows,
        flags=flags,
        evidence=evidence,
    )


def snp_set(*, flags: tuple[str, ...] = ()) -> MeasurementSet:
    """Return direct boot with kernel hashes for two vCPU counts, and disk boot that covers the firmware alone."""
    return measurement_set(
        "snp",
        predicted("snp.launch_digest", b"\x0a" * 48, FIRMWARE, IMAGE, boot="direct", vcpus=1),
        predicted("snp.launch_digest", b"\x0b" * 48, FIRMWARE, IMAGE, boot="direct", vcpus=2),
        predicted("snp.launch_digest", b"\xff" * 48, FIRMWARE, boot="disk", vcpus=1),
        predicted("tpm.pcr11", b"\x11" * 32, alg="sha256", boot="disk"),
        by=("snp.launch_digest",),
        flags=flags,
    )


def tdx_set() -> MeasurementSet:
    return measurement_set(
        "tdx",
        predicted("tdx.mrtd", b"\x01" * 48, FIRMWARE),
        unknown("tdx.rtmr0", Status.PLATFORM, "the machine's ACPI tables"),
        predicted("tdx.rtmr1", b"\x02" * 48, boot="disk"),
        predicted("tdx.rtmr2", b"\x03" * 48, boot="disk"),
        by=("tdx.rtmr1", "tdx.rtmr2"),
    )


def vtpm_set(evidence: str) -> MeasurementSet:
    return measurement_set(
        evidence,
        unknown("snp.launch_digest", Status.PLATFORM, "the cloud's own firmware"),
        unknown("tdx.mrtd", Status.PLATFORM, "the cloud's own firmware"),
        predicted("tpm.pcr11", b"\x10" * 20, alg="sha1", boot="disk"),
        predicted("tpm.pcr11", b"\x11" * 32, alg="sha256", boot="disk"),
        predicted("tpm.pcr11", b"\x12" * 48, alg="sha384", boot="disk"),
        by=("tpm.pcr04", "tpm.pcr11", "tpm.pcr12"),
    )


PCRS = {index: bytes([0x40 + index]) * 32 for index in (4, 7, 9, 11, 12)}
"""What a vTPM set of all PCRs that are worth comparing predicts."""


def pcr_set(evidence: str, *, without: tuple[int, ...] = ()) -> MeasurementSet:
    """Return a vTPM's set of all PCRs worth comparing; those of ``without`` cannot be predicted."""
    rows = (
        unknown(f"tpm.pcr{index:02d}", Status.UNPREDICTABLE, "a boot secret", alg="sha256")
        if index in without
        else predicted(f"tpm.pcr{index:02d}", value, alg="sha256", boot="disk")
        for index, value in PCRS.items()
    )
    return measurement_set(evidence, *rows, by=("tpm.pcr04", "tpm.pcr11", "tpm.pcr12"))


def se_set() -> MeasurementSet:
    return measurement_set(
        "se",
        predicted("se.tag", b"\x5e" * 16, alg="gcm"),
        predicted("se.image_phkh", b"\x5f" * 32, alg="sha256"),
        by=("se.tag",),
    )


def cca_set() -> MeasurementSet:
    return measurement_set(
        "cca",
        predicted("cca.rim", b"\xca" * 32, alg="sha256"),
        predicted("cca.rem0", b"\xcb" * 32, alg="sha256"),
        by=("cca.rim", "cca.rem0"),
    )


def request(measurements: MeasurementSet, **changes: Any) -> ExportRequest:
    """Return a request for a set's export, of the newest Trustee unless it is changed."""
    return ExportRequest(measurements=measurements, **changes)
