"""What ``measure tdx`` is given, brought into the form that the measuring functions take."""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click

from podvm_builder.catalog.ovmf import LAYOUTS
from podvm_builder.cli.boot_inputs import check_kind
from podvm_builder.cli.input_files import named, read_file
from podvm_builder.errors import FormatError, InputError
from podvm_builder.formats.acpi import (
    MAX_TABLES,
    AcpiFiles,
    check_loader,
    check_root,
    derive_files,
    derive_root,
    enabled_cpus,
)
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
from podvm_builder.measure.tdx_machine import TdxMachine
from podvm_builder.measure.tdx_measure import image_boot, without_state
from podvm_builder.model.measurement import Status
from podvm_builder.model.reader import BinaryReader
from podvm_builder.tools.disks import open_disk
from podvm_builder.tools.files import FileReader, hashing_threads

_MAX_LOADER = 1 << 20


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Machines:
    """The options that say on which machines."""

    memory: tuple[int, ...]
    """Bytes, each once."""
    vcpus: int | None
    acpi_tables: Path | None
    acpi_loader: Path | None
    acpi_rsdp: Path | None
    from_qemu: bool
    qemu: str | None
    qemu_arguments: tuple[str, ...]
    cpu: str | None
    phys_bits: int | None
    cache: Path | None

    def __post_init__(self) -> None:
        """Refuse what does not go together.

        Raises:
            InputError: PVB216; PVB214, a memory size that QEMU does not take.
        """
        for size in self.memory:
            q35_memory(size)
        tables = self.acpi_tables is not None
        if tables and self.from_qemu:
            raise InputError("`--acpi-tables` and `--acpi-from-qemu` both say which tables: give one", code=CODE)
        for name in ("acpi_loader", "acpi_rsdp"):
            if getattr(self, name) is not None and not tables:
                raise InputError(f"`--{name.replace('_', '-')}` without `--acpi-tables`", code=CODE)
        if tables and len(self.memory) != 1:
            raise InputError("ACPI tables belong to one machine: give `--memory` once with them", code=CODE)
        if self.from_qemu and not (self.memory and self.vcpus):
            raise InputError("`--acpi-from-qemu` needs to know the machine: `--memory` and `--vcpus`", code=CODE)
        if self.vcpus is not None and not self.memory:
            raise InputError("`--vcpus` without `--memory`: no register follows from it alone", code=CODE)
        for name, value in (("qemu", self.qemu), ("cpu", self.cpu), ("phys-bits", self.phys_bits)):
            if value is not None and not self.from_qemu:
                raise InputError(f"`--{name}` without `--acpi-from-qemu`", code=CODE)
        if self.qemu_arguments and not self.from_qemu:
            raise InputError("`--qemu-arg` without `--acpi-from-qemu`", code=CODE)
        if self.cache is not None and (not self.from_qemu or self.qemu is not None):
            raise InputError("`--cache` is where the tools tree is, and none is needed here", code=CODE)


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


def read_machines(machines: Machines, firmware: TdxFirmware) -> tuple[TdxMachine, ...]:
    """Return the machines, with the tables that were given or that QEMU makes.

    Raises:
        InputError: PVB216, tables of another machine, or firmware that measures nothing.
        FormatError: PVB211, what was given is not QEMU's.
        BuildFailed: PVB530, QEMU failed.
        Lacking: there is no tools tree, and none can be made.
    """
    if machines.from_qemu:
        return _from_qemu(machines, firmware)
    variant: dict[str, str | int | bool] = {} if machines.vcpus is None else {"vcpus": machines.vcpus}
    if machines.acpi_tables is None:
        return tuple(TdxMachine(memory=size, variant=variant) for size in machines.memory)
    files = _acpi_files(machines)
    with named(machines.acpi_tables):
        count = enabled_cpus(files.tables)
    if machines.vcpus is not None and count != machines.vcpus:
        raise InputError(f"the ACPI tables are of a machine with {count} vCPUs, not {machines.vcpus}", code=CODE)
    if count is not None:
        variant["vcpus"] = count
    return (
        TdxMachine(memory=machines.memory[0], acpi=files, variant={**variant, "acpi_tables": _digest(files.tables)}),
    )


def _acpi_files(machines: Machines) -> AcpiFiles:
    path = machines.acpi_tables
    assert path is not None  # noqa: S101 - the caller has looked
    tables = read_file(path, limit=MAX_TABLES)
    if machines.acpi_loader is None:
        with named(path):
            derived = derive_files(tables)
        loader = derived.loader
    else:
        loader = read_file(machines.acpi_loader, limit=_MAX_LOADER)
        with named(machines.acpi_loader):
            check_loader(loader)
    if machines.acpi_rsdp is None:
        with named(path):
            return AcpiFiles(loader=loader, rsdp=derive_root(tables), tables=tables)
    rsdp = read_file(machines.acpi_rsdp, limit=4096)
    with named(machines.acpi_rsdp):
        check_root(rsdp)
    return AcpiFiles(loader=loader, rsdp=rsdp, tables=tables)


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _from_qemu(machines: Machines, firmware: TdxFirmware) -> tuple[TdxMachine, ...]:
    from podvm_builder.boot.tdx_tables import CPU, PHYS_BITS, Emulation, read_machine

    if firmware.silent is not None:
        raise InputError(firmware.silent, code=CODE)
    arguments = tuple(word for text in machines.qemu_arguments for word in _words(text))
    tree = None
    if machines.qemu is None:
        from podvm_builder.tools.cache import open_cache
        from podvm_builder.tools.tree import ensure_tree

        tree = ensure_tree(cache=open_cache(machines.cache), progress=lambda line: click.echo(line, err=True))
    assert machines.vcpus is not None  # noqa: S101 - checked with the options
    return tuple(
        read_machine(
            Emulation(
                memory=size,
                vcpus=machines.vcpus,
                cpu=machines.cpu or CPU,
                phys_bits=machines.phys_bits or PHYS_BITS,
                arguments=arguments,
            ),
            firmware.image,
            tree=tree,
            **({} if machines.qemu is None else {"qemu": machines.qemu}),
        )
        for size in machines.memory
    )


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise InputError(f"`--qemu-arg {text[:60]}`: {error}", code=CODE) from None
