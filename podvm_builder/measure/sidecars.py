"""What systemd-stub takes from the EFI system partition beside the UKI: addons, credentials, extensions.

Sources: systemd's ``stub.c`` and ``cpio.c`` since 257, and "systemd-stub(7)". Addons are loaded as programs (PCR 4) and
their command lines joined into one event; ESP-wide files come before those of the UKI for addons, and after them for
credentials and extensions. All from the source; with systemd 257 also seen on a TPM: measurements that hang on it carry
:data:`REMARK`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from podvm_builder.errors import FormatError
from podvm_builder.formats.cpio import CpioFile, stub_archive
from podvm_builder.formats.digests import digest_bytes
from podvm_builder.formats.pe import EFI_APPLICATION, PeImage, parse_pe
from podvm_builder.formats.readers import BytesReader, read_all
from podvm_builder.formats.uki import section_content
from podvm_builder.measure.stub import StubRules, mangle_cmdline
from podvm_builder.model.event import Event
from podvm_builder.model.reader import BinaryReader

REMARK = "with addons, credentials or extensions, as systemd's source has it; seen on a TPM with systemd 257"
MAX_FILES = 512 << 20
"""Bytes of all files together; they are held in memory, as the stub does."""

_KERNEL_CONFIG = 12
_SYSEXTS = 13
_PARTS = (".cmdline", ".dtb", ".dtbauto", ".initrd", ".ucode")


@dataclass(frozen=True, slots=True, kw_only=True)
class EspFile:
    """One file of a folder that the stub reads."""

    path: str
    """From the root of the partition, with ``/``."""
    reader: BinaryReader

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """The folders that the stub reads, each in any order."""

    addons: tuple[EspFile, ...] = ()
    """``/loader/addons``."""
    credentials: tuple[EspFile, ...] = ()
    """``/loader/credentials``."""
    extensions: tuple[EspFile, ...] = ()
    """``/loader/extensions``."""
    own: tuple[EspFile, ...] = ()
    """``<UKI>.extra.d``: all of these kinds, for this UKI alone."""

    @property
    def files(self) -> tuple[EspFile, ...]:
        """All files, the own ones last."""
        return (*self.addons, *self.credentials, *self.extensions, *self.own)


@dataclass(frozen=True, slots=True, kw_only=True)
class Addon:
    """One addon, a PE image."""

    path: str
    reader: BinaryReader
    image: PeImage


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidecars:
    """What the files do to a boot."""

    addons: tuple[Addon, ...] = ()
    """In the order of loading."""
    events: tuple[Event, ...] = ()
    """Of PCR 12 and 13, in order."""
    cmdline: str = ""
    """Appended to the UKI's command line, after a blank."""
    first: tuple[BinaryReader, ...] = ()
    """Initrds before the UKI's: microcode."""
    archives: tuple[BinaryReader, ...] = ()
    """Initrds right behind the UKI's."""
    last: tuple[BinaryReader, ...] = ()
    """Initrds at the very end."""

    @property
    def present(self) -> bool:
        """Whether anything is measured on their account."""
        return bool(self.addons or self.events)


def read_sidecars(folders: Folders, rules: StubRules, *, uname: bytes, algorithms: Sequence[str]) -> Sidecars:
    """Work out what the stub makes of the files.

    Args:
        folders: what the partition holds.
        rules: of a stub whose treatment of these files is known (``rules.sidecars``).
        uname: the UKI's ``.uname``; an addon that names another one is loaded, and left aside.
        algorithms: banks to give digests for.

    Raises:
        FormatError: an addon that is not an EFI application, or more bytes than are credible.
    """
    assert rules.sidecars  # noqa: S101 - the caller has looked
    total = sum(file.reader.size for file in folders.files)
    if total > MAX_FILES:
        raise FormatError(f"EFI system partition: {total} bytes beside the UKI; at most {MAX_FILES}", code="PVB253")
    addons = tuple(
        Addon(path=file.path, reader=file.reader, image=_addon(file))
        for group in (folders.addons, folders.own)
        for file in _pick(group, ".addon.efi")
    )
    used = [addon for addon in addons if _applies(addon, uname)]
    lines = [_mangled(addon) for addon in used if addon.image.section(".cmdline")]
    cmdline = mangle_cmdline(" ".join(lines))
    events = [_loaded(cmdline, algorithms)] if cmdline else []
    trees = [(addon, tree) for addon in used if (tree := _part(addon, ".dtbauto") or _part(addon, ".dtb"))]
    events += [_tagged(addon, tree, "devicetree", algorithms) for addon, tree in trees]
    archives: list[BinaryReader] = []
    for target, pcr, mode, group, suffix, without in _SIDECARS:
        files = _pick(getattr(folders, group), suffix, without=without)
        if files:
            data = _archive(target, mode, files)
            subject = f"{target.rpartition('/')[2]} of {files[0].path.rpartition('/')[0]}"
            events.append(
                Event(
                    pcr=pcr,
                    kind="EV_IPL",
                    digests=digest_bytes(data, algorithms),
                    subject=subject,
                    source="systemd-stub",
                )
            )
            archives.append(BytesReader(data))
    first = [(addon, part) for addon in reversed(used) if (part := _part(addon, ".ucode"))]
    last = [(addon, part) for addon in used if (part := _part(addon, ".initrd"))]
    events += [_tagged(addon, part, "microcode", algorithms) for addon, part in first]
    events += [_tagged(addon, part, "initrd", algorithms) for addon, part in last]
    return Sidecars(
        addons=addons,
        events=tuple(events),
        cmdline=cmdline,
        first=tuple(part for _, part in first),
        archives=tuple(archives),
        last=tuple(part for _, part in last),
    )


_SIDECARS = (
    (".extra/credentials", _KERNEL_CONFIG, (0o500, 0o400), "own", ".cred", ""),
    (".extra/global_credentials", _KERNEL_CONFIG, (0o500, 0o400), "credentials", ".cred", ""),
    (".extra/sysext", _SYSEXTS, (0o555, 0o444), "own", ".raw", ".confext.raw"),
    (".extra/global_sysext", _SYSEXTS, (0o555, 0o444), "extensions", ".raw", ".confext.raw"),
    (".extra/confext", _KERNEL_CONFIG, (0o555, 0o444), "own", ".confext.raw", ""),
    (".extra/global_confext", _KERNEL_CONFIG, (0o555, 0o444), "extensions", ".confext.raw", ""),
)
"""Folder in the initrd, PCR, modes of folder and files, folder in the partition, suffix, suffix that is left out."""


def _pick(files: Sequence[EspFile], suffix: str, *, without: str = "") -> list[EspFile]:
    """Return the files with a suffix, compared without case, sorted as the stub does: by UTF-16 unit."""
    picked = [
        file
        for file in files
        if file.name.lower().endswith(suffix)
        and not (without and file.name.lower().endswith(without))
        and file.name.isascii()
        and not file.name.startswith(".")
    ]
    return sorted(picked, key=lambda file: file.name)


def _archive(target: str, modes: tuple[int, int], files: Sequence[EspFile]) -> bytes:
    packed = [CpioFile(name=file.name, data=read_all(file.reader), mode=modes[1]) for file in files]
    return stub_archive(target, packed, folder_mode=modes[0])


def _addon(file: EspFile) -> PeImage:
    try:
        image = parse_pe(file.reader)
    except FormatError as error:
        raise FormatError(f"`{file.path}`: {error.message}", code=error.code) from error
    if image.subsystem != EFI_APPLICATION:
        raise FormatError(f"`{file.path}`: subsystem {image.subsystem} is not an EFI application", code="PVB241")
    return image


def _applies(addon: Addon, uname: bytes) -> bool:
    """Say whether the stub uses an addon: it has something to add, no kernel, and no other kernel's version."""
    names = [section.name for section in addon.image.sections if section.virtual_size]
    wanted = _text(addon, ".uname") if ".uname" in names else None
    return (
        ".linux" not in names
        and any(name in names for name in _PARTS)
        and (wanted is None or not uname or wanted == uname)
    )


def _part(addon: Addon, name: str) -> BinaryReader | None:
    section = addon.image.section(name)
    return section_content(addon.reader, section) if section is not None and section.virtual_size else None


def _text(addon: Addon, name: str) -> bytes:
    part = _part(addon, name)
    if part is None or part.size > 1 << 20:
        raise FormatError(f"`{addon.path}`: a `{name}` section of an incredible size", code="PVB241")
    return read_all(part).split(b"\0")[0]


def _mangled(addon: Addon) -> str:
    raw = _text(addon, ".cmdline")
    if not raw.isascii():
        raise FormatError(f"`{addon.path}`: the command line is not ASCII", code="PVB253")
    return mangle_cmdline(raw.decode("ascii"))


def _loaded(cmdline: str, algorithms: Sequence[str]) -> Event:
    data = cmdline.encode("utf-16-le") + bytes(2)
    return Event(
        pcr=_KERNEL_CONFIG,
        kind="EV_IPL",
        digests=digest_bytes(data, algorithms),
        subject="command line of addons",
        source="systemd-stub",
        data=data,
    )


def _tagged(addon: Addon, part: BinaryReader, what: str, algorithms: Sequence[str]) -> Event:
    return Event(
        pcr=_KERNEL_CONFIG,
        kind="EV_EVENT_TAG",
        digests=digest_bytes(read_all(part), algorithms),
        subject=f"{what} of addon {addon.path}",
        source="systemd-stub",
    )


def all_paths(folders: Folders) -> Iterator[str]:
    """Yield the paths of files that the stub reads; others in these folders change nothing."""
    for group, suffixes in (
        (folders.addons, (".addon.efi",)),
        (folders.credentials, (".cred",)),
        (folders.extensions, (".raw",)),
        (folders.own, (".addon.efi", ".cred", ".raw")),
    ):
        for file in group:
            if file.name.lower().endswith(suffixes):
                yield file.path
