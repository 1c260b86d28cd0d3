"""CPU models as QEMU names them, and the signature that a guest reads from CPUID leaf 1, EAX.

A plain module, so that measuring loads it in a millisecond. Versions of a model differ in features only:
the signature is the model's. ``-cpu host`` has no fixed signature and is therefore no name here.
"""

from __future__ import annotations

from collections.abc import Mapping


def cpu_signature(family: int, model: int, stepping: int) -> int:
    """Return CPUID Fn0000_0001 EAX of a family, model and stepping (AMD publication 25481).

    A family above 15 is 15 plus the extended family; the extended model is the model's upper four bits.

    Raises:
        ValueError: a number that the register has no room for.
    """
    if not (0 <= family <= 0xF + 0xFF and 0 <= model <= 0xFF and 0 <= stepping <= 0xF):
        raise ValueError(f"family {family}, model {model}, stepping {stepping} is no CPU signature")
    base, extended = (0xF, family - 0xF) if family > 0xF else (family, 0)
    return extended << 20 | (model >> 4) << 16 | base << 8 | (model & 0xF) << 4 | stepping


_NAPLES = cpu_signature(23, 1, 2)
_ROME = cpu_signature(23, 49, 0)
_MILAN = cpu_signature(25, 1, 1)
_GENOA = cpu_signature(25, 17, 0)
_TURIN = cpu_signature(26, 0, 0)

SIGNATURES: Mapping[str, int] = {
    **dict.fromkeys(("EPYC", "EPYC-IBPB", *(f"EPYC-v{n}" for n in range(1, 6))), _NAPLES),
    **dict.fromkeys(("EPYC-Rome", *(f"EPYC-Rome-v{n}" for n in range(1, 6))), _ROME),
    **dict.fromkeys(("EPYC-Milan", *(f"EPYC-Milan-v{n}" for n in range(1, 4))), _MILAN),
    **dict.fromkeys(("EPYC-Genoa", *(f"EPYC-Genoa-v{n}" for n in range(1, 3))), _GENOA),
    **dict.fromkeys(("EPYC-Turin", "EPYC-Turin-v1"), _TURIN),
}
"""Signature by model name (QEMU 10.1, ``target/i386/cpu.c``)."""
