"""What an IGVM file says of a guest, as values; :mod:`podvm_builder.formats.igvm` reads them."""

from __future__ import annotations

from dataclasses import dataclass

SNP = 2
"""Platform type of SEV-SNP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """A platform that the file supports."""

    mask: int
    """The one bit that headers for it have in their compatibility mask."""
    kind: int
    """0 native, 1 VSM, 2 SNP, 3 TDX, 4 SEV, 5 SEV-ES, 6 CCA."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestPolicy:
    """SNP's guest policy."""

    mask: int
    policy: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PageData:
    """Guest memory of one page, or of 2 MiB."""

    offset: int
    """Of its header in the file, as for all headers."""
    mask: int
    gpa: int
    kind: int
    """0 normal, 1 secrets, 2 CPUID, 3 CPUID_XF."""
    size: int
    unmeasured: bool
    shared: bool
    data: bytes | None
    """None: zeros."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterInsert:
    """Guest memory that the loader fills with parameters, not measured."""

    offset: int
    mask: int
    gpa: int
    size: int
    """Of the parameter area."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VpContext:
    """The state that a vCPU starts with; for SNP a VMSA page."""

    offset: int
    mask: int
    gpa: int
    index: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SnpIdBlock:
    """The parts of an ID block that say what it is for."""

    offset: int
    mask: int
    launch_digest: bytes
    family_id: bytes
    image_id: bytes
    version: int
    guest_svn: int


Directive = PageData | ParameterInsert | VpContext | SnpIdBlock


@dataclass(frozen=True, slots=True, kw_only=True)
class IgvmFile:
    """What a file says, headers in their order."""

    version: int
    platforms: tuple[Platform, ...]
    policies: tuple[GuestPolicy, ...]
    directives: tuple[Directive, ...]
    ignored: tuple[int, ...]
    """Types of the optional headers that are not known here."""

    def mask_of(self, kind: int) -> int | None:
        """Return the compatibility mask of a platform type, None where the file does not support it."""
        return next((platform.mask for platform in self.platforms if platform.kind == kind), None)
