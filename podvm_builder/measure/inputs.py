"""The inputs of launch measurements as users write them."""

from __future__ import annotations

from typing import NamedTuple

from podvm_builder.catalog.cpus import SIGNATURES, cpu_signature
from podvm_builder.errors import InputError

MAX_VCPUS = 4096
"""KVM's largest on x86; nothing has more."""


class Cpu(NamedTuple):
    """A CPU model, reduced to what a launch digest sees of it."""

    name: str
    """QEMU's name, ``family/model/stepping``, or the signature in hexadecimal."""
    signature: int
    """CPUID leaf 1, EAX."""

    @classmethod
    def parse(cls, text: str) -> Cpu:
        """Return the CPU of a QEMU model name, or of ``family/model/stepping`` in decimal.

        Raises:
            InputError: neither; the hint names near models.
        """
        if text in SIGNATURES:
            return cls(name=text, signature=SIGNATURES[text])
        numbers = text.split("/")
        if len(numbers) == 3 and all(number.isascii() and number.isdigit() and len(number) < 4 for number in numbers):
            try:
                return cls(name=text, signature=cpu_signature(*map(int, numbers)))
            except ValueError as error:
                raise InputError(str(error), code="PVB228") from None
        from difflib import get_close_matches

        near = get_close_matches(text, SIGNATURES, n=1)
        raise InputError(
            f"unknown CPU model `{text}`",
            code="PVB228",
            hint=f"did you mean `{near[0]}`?" if near else "give QEMU's name, family/model/stepping, or `--cpu-sig`",
        )

    @classmethod
    def of_signature(cls, signature: int) -> Cpu:
        """Return the CPU with a signature.

        Raises:
            InputError: not a 32-bit number above zero.
        """
        if not 0 < signature < 1 << 32:
            raise InputError(f"{signature:#x} is no CPU signature: it has 32 bits and is not zero", code="PVB228")
        return cls(name=f"{signature:#x}", signature=signature)


def parse_vcpus(text: str) -> tuple[int, ...]:
    """Return the counts of a list such as ``1,2,4-8``, ascending and each once.

    Raises:
        InputError: not such a list, a range that runs backwards, or a count outside 1 to :data:`MAX_VCPUS`.
    """
    counts: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        low = _count(first, part)
        high = _count(last, part) if dash else low
        if high < low:
            raise InputError(f"vCPU range `{part}` runs backwards", code="PVB227")
        counts.update(range(low, high + 1))
    return tuple(sorted(counts))


def check_vcpus(count: int) -> int:
    """Return a vCPU count that a machine can have.

    Raises:
        InputError: it is not from 1 to :data:`MAX_VCPUS`.
    """
    if not 1 <= count <= MAX_VCPUS:
        raise InputError(f"{count} vCPUs: a guest has from 1 to {MAX_VCPUS}", code="PVB227")
    return count


def _count(text: str, part: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise InputError(
            f"`{part}` is not a vCPU count or range",
            code="PVB227",
            hint="write counts and ranges with commas between them, e.g. 1,2,4-8",
        )
    # int() of very long digits is slow, and refused by Python; no such count is valid anyway
    return check_vcpus(int(text) if len(text) < 10 else 10**9)


def check_guest_features(features: int) -> int:
    """Return a SEV_FEATURES value that an SNP guest can have.

    Raises:
        InputError: more than 64 bits, or bit 0 (SNPActive) not set.
    """
    if not 0 <= features < 1 << 64:
        raise InputError(f"guest features {features:#x}: SEV_FEATURES has 64 bits", code="PVB230")
    if not features & 1:
        raise InputError(
            f"guest features {features:#x}: bit 0, SNPActive, is set in every SNP guest",
            code="PVB230",
            hint="0x1 on current hosts; 0x21 where debug swap is on (Linux 6.6, 6.7, or debug_swap=1)",
        )
    return features


def check_sev_es_features(features: int) -> int:
    """Return a SEV_FEATURES value that a SEV-ES guest can have.

    Raises:
        InputError: more than 64 bits, or bit 0 (SNPActive) set.
    """
    if not 0 <= features < 1 << 64 or features & 1:
        raise InputError(
            f"guest features {features:#x}: bit 0, SNPActive, is set in SNP guests alone",
            code="PVB230",
            hint="0x0; 0x20 where debug swap is on",
        )
    return features


def parse_sev_es_features(text: str) -> int:
    """Return a SEV_FEATURES value of a SEV-ES guest, in hexadecimal with ``0x`` or in decimal.

    Raises:
        InputError: neither, or one that no SEV-ES guest can have.
    """
    return check_sev_es_features(parse_number(text, "guest features", "PVB230"))


def parse_guest_features(text: str) -> int:
    """Return a SEV_FEATURES value given in hexadecimal with ``0x``, or in decimal.

    Raises:
        InputError: neither, or one that no SNP guest can have.
    """
    return check_guest_features(parse_number(text, "guest features", "PVB230"))


def parse_cpu_signature(text: str) -> Cpu:
    """Return the CPU whose signature is given in hexadecimal with ``0x``, or in decimal.

    Raises:
        InputError: neither, or not a signature.
    """
    return Cpu.of_signature(parse_number(text, "CPU signature", "PVB228"))


def parse_firmware_seed(text: str) -> bytes:
    """Return the 48 bytes of a firmware seed.

    Raises:
        InputError: not 96 hexadecimal digits.
    """
    if len(text) != 96 or not set(text) <= _HEX:
        raise InputError("a firmware seed has 96 hexadecimal digits", code="PVB231")
    return bytes.fromhex(text)


_HEX = frozenset("0123456789abcdefABCDEF")


def parse_number(text: str, what: str, code: str) -> int:
    """Return a number above or equal to zero, in hexadecimal with ``0x`` or in decimal; ``what`` names it in errors.

    Raises:
        InputError: neither, under ``code``.
    """
    digits, base = (text[2:], 16) if text[:2] in ("0x", "0X") else (text, 10)
    # int() also takes signs, blanks and underscores: what is accepted here is a number as everyone writes it
    if not 0 < len(digits) <= 20 or not set(digits) <= (_HEX if base == 16 else frozenset("0123456789")):
        raise InputError(f"{what}: `{text[:40]}` is not a number", code=code, hint="write 0x21 or 33")
    return int(digits, base)
