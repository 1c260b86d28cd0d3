"""What a trust domain boots, as ``measure tdx`` is given it, brought into the form that is measured."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from podvm_builder.catalog.ovmf import LAYOUTS
from podvm_builder.cli.boot_inputs import check_kind
from podvm_builder.cli.input_files import named
from podvm_builder.errors import FormatError, InputError
from podvm_builder.formats.bzimage import is_linux
from podvm_builder.formats.td_hob import q35_memory
from podvm_builder.formats.uki import parse_uki
from podvm_builder.measure.boot_log import DIRECT, DISK
from podvm_builder.measure.tdx_boot import (
    CODE,
    FILE,
    FILLED,
    NO_HEADER,
    TdxBoot,
    firmware_boot,
    kernel_boot,
)
from podvm_builder.measure.tdx_firmware import TdxFirmware, secure_boot_state
from podvm_builder.measure.tdx_measure import image_boot, without_state
from podvm_builder.model.measurement import Status
from podvm_builder.model.reader import BinaryReader
from podvm_builder.tools.disks import open_disk
from podvm_builder.tools.files import FileReader, hashing_threads


@dataclass(frozen=True, slots=True, kw_only=True)
class Booted:
    """The options that say what is booted."""

    image: Path | None
    uki: Path | None
    kernel: Path | None
    initrd: Path | None
    append: str | None
    boot: str | None
    kernel_header: str | None

    def __post_init__(self) -> None:
        """Refuse what does not go together.

        Raises:
            InputError: PVB216.
        """
        given = [name for name in ("image", "uki", "kernel") if getattr(self, name) is not None]
        if len(given) > 1:
            raise InputError(f"`--{given[0]}` and `--{given[1]}` both say what is booted: give one", code=CODE)
        for name, value in (("initrd", self.initrd), ("append", self.append), ("kernel-header", self.kernel_header)):
            if value is not None and self.kernel is None:
                raise InputError(f"`--{name}` without `--kernel`: nothing measures it", code=CODE)
        if self.boot == DISK and self.kernel is not None:
            raise InputError("QEMU hands a kernel over directly: `--boot disk` is for an image or a UKI", code=CODE)

    @property
    def path(self) -> str:
        """The boot path."""
        return self.boot or (DISK if self.image is not None else DIRECT)


def read_boot(booted: Booted, firmware: TdxFirmware, *, asked: str | None, memory: Sequence[int]) -> TdxBoot:
    """Return what is booted.

    Args:
        booted: the options.
        firmware: its variables hold the keys.
        asked: the state of secure boot as the user gave it.
        memory: bytes of the machines; a kernel's header may depend on it.

    Raises:
        InputError: PVB246, a state of secure boot that the firmware is not in; PVB216, options that the file does not
            go with.
        FormatError: a file that is not what its option says.
    """
    known = secure_boot_state(firmware, asked)
    # what is booted measures alike with secure boot absent and off
    state = known or "off"
    found = _read_boot(booted, firmware, state, memory)
    return found if known is not None else without_state(found)


def _read_boot(booted: Booted, firmware: TdxFirmware, state: str, memory: Sequence[int]) -> TdxBoot:
    keys = firmware.keys
    if booted.kernel is not None:
        return _kernel(booted, booted.kernel, firmware, state, memory)
    path = booted.image or booted.uki
    if path is None:
        return firmware_boot(booted.path, secure_boot=state, keys=keys)
    with named(path), open_disk(path) as reader:
        check_kind(reader, uki=booted.uki is not None, code=CODE)
        return image_boot(
            reader,
            boot=booted.path,
            secure_boot=state,
            keys=keys,
            workers=hashing_threads(),
        )


def _kernel(booted: Booted, path: Path, firmware: TdxFirmware, state: str, memory: Sequence[int]) -> TdxBoot:
    with named(path), FileReader(path) as reader:
        if not is_linux(reader) and _is_uki(reader):
            for name in ("initrd", "append", "kernel_header"):
                if getattr(booted, name) is not None:
                    raise InputError(f"`--{name.replace('_', '-')}` with a UKI, which brings its own", code=CODE)
            return image_boot(reader, boot=DIRECT, secure_boot=state, keys=firmware.keys, workers=hashing_threads())
        header = booted.kernel_header or _header(firmware)
        size = _one_size(memory) if header == FILLED and booted.initrd is not None else None

        def measure(initrd: BinaryReader | None) -> TdxBoot:
            return kernel_boot(
                reader,
                initrd=initrd,
                append=os.fsencode(booted.append or ""),
                header=header or FILE,
                memory=size,
                secure_boot=state,
                keys=firmware.keys,
            )

        if booted.initrd is None:
            found = measure(None)
        else:
            with FileReader(booted.initrd) as initrd:
                found = measure(initrd)
    if header is None:
        return replace(found, unknown={**found.unknown, 1: (Status.UNPREDICTABLE, NO_HEADER)}, variant={})
    return found


def _is_uki(reader: BinaryReader) -> bool:
    try:
        parse_uki(reader)
    except FormatError:
        return False
    return True


def _header(firmware: TdxFirmware) -> str | None:
    """Return which bytes of a kernel a firmware loads, None where that is not known."""
    if firmware.build is not None:
        return FILE if firmware.build.reads_kernel_file else FILLED
    oldest, *_, newest = LAYOUTS.values()
    return {newest: FILE, oldest: FILLED}.get(firmware.layout) if firmware.layout is not None else None


def _one_size(memory: Sequence[int]) -> int | None:
    if len({q35_memory(size)[0][1] for size in memory}) > 1:
        raise InputError(
            "with a header that QEMU fills in, the kernel's digest differs by memory size: give `--memory` once",
            code=CODE,
        )
    return memory[0] if memory else None
