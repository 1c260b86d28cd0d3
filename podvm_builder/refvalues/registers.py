"""Registers as they are, for formats that do not speak in the names of one policy.

What may be exported is the same everywhere: a value that the measurements justify, of a boot path that the profile
lists; and of a register that identifies the image, only values computed from the image, unless values that any image
passes with are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from podvm_builder.errors import Finding, InputError
from podvm_builder.model.measurement import Measurement, MeasurementSet
from podvm_builder.refvalues.registry import ExportRequest, FlatMap

AMBIGUOUS = "PVB662"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterValue:
    """What one register may hold."""

    register: str
    """``snp.launch_digest``, ``tdx.rtmr1``, ``tpm.pcr04`` …"""
    alg: str
    values: tuple[bytes, ...]
    """Each once, in the order of the measurements; at least one."""

    @property
    def name(self) -> str:
        """Name in a flat map: register and algorithm, ``tpm.pcr04:sha256``."""
        return f"{self.register}:{self.alg}"


def register_rows(request: ExportRequest, wanted: Callable[[Measurement], bool]) -> tuple[Measurement, ...]:
    """Return the rows that may be exported, in order.

    Args:
        request: whose measurements, and what is let pass.
        wanted: says which rows the format has a place for.

    Raises:
        Finding: none of them has a value (PVB601), or those that have do not identify the image and it was not asked
            for all the same (PVB602).
    """
    measurements = request.measurements
    rows = [row for row in measurements.measurements if wanted(row) and _is_listed(row, measurements)]
    known = [row for row in rows if row.value is not None]
    whose = f"of `{measurements.target}` " if measurements.target else ""
    if not known:
        reasons = [f"`{row.register}`: {row.reason}" for row in rows]
        if not rows and request.options.boot:
            boots = dict.fromkeys(
                str(row.variant["boot"]) for row in measurements.measurements if "boot" in row.variant
            )
            reasons = [f"the boot paths are {', '.join(boots) or 'not named'}"]
        raise Finding(
            f"there is no value {whose}that this form has a place for",
            code="PVB601",
            hint=reasons[0] if reasons else "the measurements have none of its registers",
        )
    identification = measurements.identifies_image
    by = identification.by if identification.value else ()
    bound = [row for row in known if row.register in by and covers_image(row)]
    if "unbound-image" in request.allow:
        return tuple(known)
    if not bound:
        why = f"{', '.join(by)} would do that, and is not in it" if by else identification.reason
        raise Finding(
            f"what this form holds {whose}does not identify the image: any image passes",
            code="PVB602",
            hint=f"{why}; `--allow-unbound-image` exports it all the same",
        )
    return tuple(row for row in known if row.register not in by or covers_image(row))


def register_values(rows: Iterable[Measurement]) -> tuple[RegisterValue, ...]:
    """Return the values of rows by register and algorithm."""
    found: dict[tuple[str, str], dict[bytes, None]] = {}
    for row in rows:
        if row.value is not None:
            found.setdefault((row.register, row.alg), {})[row.value] = None
    return tuple(RegisterValue(register=name, alg=alg, values=tuple(values)) for (name, alg), values in found.items())


def single_values(rows: Iterable[Measurement]) -> dict[tuple[str, str], bytes]:
    """Return one value a register, for a format that has no place for more.

    Raises:
        InputError: PVB662, a register has several.
    """
    found = {}
    for one in register_values(rows):
        if len(one.values) > 1:
            raise InputError(
                f"`{one.register}` ({one.alg}) has {len(one.values)} values, and this form has a place for one",
                code=AMBIGUOUS,
                hint="export one image, and say its boot path with `--boot`",
            )
        found[one.register, one.alg] = one.values[0]
    return found


def flat(values: Iterable[RegisterValue]) -> FlatMap:
    """Return values as a reader gives them: register and algorithm to a list of lower-case hex."""
    return {one.name: [value.hex() for value in one.values] for one in values}


def flat_digests(values: Mapping[tuple[str, str], Iterable[bytes]]) -> FlatMap:
    """Return the same of values by register and algorithm."""
    return {f"{register}:{alg}": [value.hex() for value in found] for (register, alg), found in values.items()}


def covers_image(row: Measurement) -> bool:
    """Say whether a value was computed from the image."""
    return any(basis.kind == "image" for basis in row.basis)


def only_boot(request: ExportRequest) -> Callable[[Measurement], bool]:
    """Return a test for the boot path that the request names; every row passes where it names none."""
    boot = request.options.boot
    return lambda row: not boot or row.variant.get("boot", boot) == boot


def _is_listed(row: Measurement, measurements: MeasurementSet) -> bool:
    boots = measurements.boots
    return "boot" not in row.variant or not boots or row.variant["boot"] in boots
