"""A platform profile in a few lines: where it was learnt, what stands out, and which registers it gives."""

from __future__ import annotations

from typing import Any

from podvm_builder.measure.log_diff import register_name
from podvm_builder.measure.platform import log_gaps
from podvm_builder.measure.rtmr import register_of
from podvm_builder.model.platform import PlatformProfile
from podvm_builder.report.text import printable

_HABITS = {
    "boot_options": ("calls of a boot option", 1),
    "failed_exits": ("exits of boot services that failed", 0),
}
"""Words for a habit, and the number of it that firmware without habits has."""


def platform_to_json(profile: PlatformProfile) -> dict[str, Any]:
    """Return what a profile says as JSON values; of each register why it has no value, or null."""
    return {
        "kind": profile.kind,
        "digest": profile.digest,
        "facts": dict(profile.facts),
        "boot": profile.boot,
        "secure_boot": profile.secure_boot,
        "banks": list(profile.banks),
        "habits": dict(profile.habits),
        "registers": [{"register": name, "lacks": reason} for name, reason in _registers(profile).items()],
    }


def render_platform(profile: PlatformProfile) -> str:
    """Lay a profile out as lines."""
    rows = [
        ("profile", profile.digest),
        *profile.facts.items(),
        ("boot", f"{profile.boot}, secure boot {profile.secure_boot}"),
        ("banks", ", ".join(profile.banks)),
    ]
    rows += [("habit", f"{count} {_HABITS[name][0]}") for name, count in profile.habits.items() if _odd(name, count)]
    registers = _registers(profile)
    rows.append(("learnt", ", ".join(name for name, reason in registers.items() if reason is None) or "nothing"))
    rows += [(name, reason) for name, reason in registers.items() if reason is not None]
    width = max(len(name) for name, _ in rows)
    return "\n".join(printable(f"{name:<{width}}  {text}") for name, text in rows)


def _odd(name: str, count: int) -> bool:
    return name in _HABITS and count != _HABITS[name][1]


def _registers(profile: PlatformProfile) -> dict[str, str | None]:
    """Return, by name, why a register is not learnt; None where it is."""
    gaps = log_gaps(profile)
    if profile.kind == "tpm":
        return {register_name(pcr, "tpm"): gaps.get(pcr) for pcr in range(8)}
    return {
        f"tdx.rtmr{index}": next((gaps[pcr] for pcr in range(8) if register_of(pcr) == index and pcr in gaps), None)
        for index in (0, 1)
    }
