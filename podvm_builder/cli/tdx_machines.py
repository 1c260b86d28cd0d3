"""The machines of ``measure tdx``: memory, vCPUs and ACPI tables, given or made by QEMU."""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import dataclass
from pathlib import Path

from podvm_builder.cli.input_files import named, read_file
from podvm_builder.cli.place import say
from podvm_builder.errors import InputError
from podvm_builder.formats.acpi import (
    MAX_TABLES,
    AcpiFiles,
    check_loader,
    check_root,
    derive_files,
    derive_root,
    enabled_cpus,
)
from podvm_builder.formats.td_hob import q35_memory
from podvm_builder.measure.tdx_boot import CODE
from podvm_builder.measure.tdx_firmware import TdxFirmware
from podvm_builder.measure.tdx_machine import TdxMachine

_MAX_LOADER = 1 << 20


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


def refuse_machines(machines: Machines, *, layout: str | None) -> None:
    """Refuse options that a platform profile takes the place of.

    Raises:
        InputError: PVB216.
    """
    given = {"memory": machines.memory, "acpi-from-qemu": machines.from_qemu, "ovmf-layout": layout}
    for name, value in given.items():
        if value:
            raise InputError(f"`--platform` and `--{name}` both say what the machine is: give one", code=CODE)


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

        tree = ensure_tree(cache=open_cache(machines.cache), progress=say)
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
