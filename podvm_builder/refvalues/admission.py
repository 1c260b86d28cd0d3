"""Which images' values are given away only when somebody says so."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from podvm_builder.errors import Finding

_REASONS = {
    "selftest": ("selftest", "holds the selftest programs instead of the guest agents"),
    "debug": ("debug", "is a debug image, whose console is open"),
    "unverified-components": ("unverified", "holds components whose provenance was not verified"),
}
"""Per flag of an image: the word that lets it pass, and what is wrong with it."""

ALLOWANCES = ("unbound-image", *(word for word, _ in _REASONS.values()))
"""What can be let pass, as in ``--allow-selftest``."""


def admit(flags: Collection[str], allow: Collection[str]) -> None:
    """Refuse an image that no verifier should take, unless each reason is let pass by name.

    Args:
        flags: of the image, as ``measurements.json`` has them.
        allow: words of :data:`ALLOWANCES`.

    Raises:
        Finding: PVB608, naming every reason that was not let pass, or a flag whose meaning is not known here.
    """
    unknown = sorted(set(flags) - _REASONS.keys())
    if unknown:
        raise Finding(
            f"the image has flags that are not known here: {', '.join(f'`{flag}`' for flag in unknown)}",
            code="PVB608",
            hint=f"`flags` may hold {', '.join(_REASONS)}; a newer podvm-build may know more",
        )
    refused = [(word, reason) for word, reason in refusals(flags).items() if word not in allow]
    if refused:
        raise Finding(
            f"the image {' and '.join(reason for _, reason in refused)}",
            code="PVB608",
            hint=f"{' '.join(f'--allow-{word}' for word, _ in refused)} exports its values all the same",
        )


def refusals(flags: Iterable[str]) -> dict[str, str]:
    """Return why an image with these flags is refused, by the word that lets it pass."""
    return dict(_REASONS[flag] for flag in flags if flag in _REASONS)


def allowances(flags: Iterable[str]) -> frozenset[str]:
    """Return the words that let an image with these flags pass."""
    return frozenset(refusals(flags))
