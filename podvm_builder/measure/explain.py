"""How a register came to its value: its events or regions in order, with the value after each.

Specifications: TPM 2.0 part 1 §17 and Intel TDX Module 1.5 ABI (``new = H(old || digest)`` for PCRs and RTMRs); UEFI
2.10 §38.4.1 for which PCRs' events an RTMR is extended with. The regions of a launch digest are listed as they are
measured; it is extended page by page, so that a region has a value of its own only where the measuring kept it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from podvm_builder.errors import InputError
from podvm_builder.measure.rtmr import register_of
from podvm_builder.model.event import Event
from podvm_builder.model.measurement import Measurement, MeasurementSet
from podvm_builder.model.region import Region

CODE = "PVB259"
_SHORT = re.compile(r"(?:pcr)?([0-9]{1,2})")
_PCR = re.compile(r"tpm\.pcr([0-9]{2})")
_RTMR = re.compile(r"tdx\.rtmr([0-3])")
_PHASE = "phase"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One event that a register was extended with."""

    index: int
    """Among the register's events, from 0."""
    event: Event
    digest: bytes
    value: bytes
    """The register after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One measurement and what it is the fold of."""

    measurement: Measurement
    steps: tuple[Step, ...] = ()
    regions: tuple[Region, ...] = ()


def explain(found: MeasurementSet, register: str) -> tuple[Explanation, ...]:
    """Explain every measurement of a register: each bank, each variant.

    Args:
        found: the measurements with their logs and regions.
        register: its name, e.g. ``tpm.pcr04``, ``tdx.mrtd``; PCRs also as ``pcr4`` or ``4``.

    Raises:
        InputError: PVB259, there is no such register among them.
    """
    name = full_name(register)
    rows = [row for row in found.measurements if row.register == name]
    if not rows:
        known = ", ".join(dict.fromkeys(row.register for row in found.measurements))
        raise InputError(f"`{register}` is not among the measurements", code=CODE, hint=f"there are: {known}")
    return tuple(_explain(found, row) for row in rows)


def full_name(register: str) -> str:
    """Return a register's full name; a PCR may be named by its number."""
    match = _SHORT.fullmatch(register.lower())
    return f"tpm.pcr{int(match[1]):02d}" if match else register.lower()


def events_of(register: str, log: Sequence[Event]) -> list[Event]:
    """Return a log's events that extend a PCR or an RTMR."""
    if match := _PCR.fullmatch(register):
        return [event for event in log if event.pcr == int(match[1])]
    if match := _RTMR.fullmatch(register):
        return [event for event in log if register_of(event.pcr) == int(match[1])]
    return []


def log_of(found: MeasurementSet, row: Measurement) -> tuple[Event, ...]:
    """Return the log that a measurement is, or would be, the fold of: by its origin, or else by its boot path."""
    kind, name = row.origin or ("log", str(row.variant.get("boot", "")))
    return found.logs.get(name, ()) if kind == "log" else ()


def _explain(found: MeasurementSet, row: Measurement) -> Explanation:
    if row.origin is not None and row.origin[0] == "regions":
        return Explanation(measurement=row, regions=found.regions.get(row.origin[1], ()))
    events = events_of(row.register, log_of(found, row))
    phase = row.variant.get(_PHASE)
    steps: list[Step] = []
    value = bytes(hashlib.new(row.alg, usedforsecurity=False).digest_size)
    for event in events:
        digest = event.digests.get(row.alg)
        if digest is None:
            break
        value = hashlib.new(row.alg, value + digest, usedforsecurity=False).digest()
        steps.append(Step(index=len(steps), event=event, digest=digest, value=value))
        if event.kind == _PHASE and phase is not None and event.subject == f"phase {phase}":
            break  # a boot that has come as far as this phase
    return Explanation(measurement=row, steps=tuple(steps))
