"""The axes of the matrix, and the target: one point of it, as users write it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from podvm_builder.errors import InputError

DEFAULT_ARCH = "x86_64"
VARIANTS = ("production", "debug")

_TARGET = re.compile(
    r"(?P<distro>[a-z0-9.-]+)/(?P<tee>[a-z0-9-]+)/(?P<cloud>[a-z0-9-]+)"
    r"(?::(?P<arch>[a-z0-9_]+))?(?P<plus>(?:\+[a-z0-9-]+)*)"
)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Target:
    """``distro/tee/cloud[:arch][+debug][+feature…]``, e.g. ``debian-13/snp/aws`` or ``debian-13/tdx/gcp+debug``."""

    distro: str
    tee: str
    cloud: str
    arch: str = DEFAULT_ARCH
    variant: str = "production"
    features: tuple[str, ...] = ()
    """Sorted, without duplicates."""

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read a target as users write it.

        Raises:
            InputError: the text is not of the form; names are checked by the catalogue, not here.
        """
        match = _TARGET.fullmatch(text)
        if match is None:
            raise InputError(
                f"`{text}` is not a target",
                code="PVB101",
                hint="write distro/tee/cloud, e.g. debian-13/snp/libvirt; `:arch`, `+debug` and `+feature` may follow",
            )
        plus = [word for word in match["plus"].split("+") if word]
        return cls(
            distro=match["distro"],
            tee=match["tee"],
            cloud=match["cloud"],
            arch=match["arch"] or DEFAULT_ARCH,
            variant="debug" if "debug" in plus else "production",
            features=tuple(sorted({word for word in plus if word not in VARIANTS})),
        )

    def __str__(self) -> str:
        """Return the shortest text that parses back to this target."""
        arch = "" if self.arch == DEFAULT_ARCH else f":{self.arch}"
        plus = ([self.variant] if self.variant != "production" else []) + list(self.features)
        return f"{self.distro}/{self.tee}/{self.cloud}{arch}" + "".join(f"+{word}" for word in plus)

    @property
    def folder(self) -> str:
        """The output folder: the name with dashes, then what differs from the default."""
        return re.sub(r"[/:+_]", "-", str(self))
