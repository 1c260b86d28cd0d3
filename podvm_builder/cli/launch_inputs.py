"""What the launch digest commands ask, read and say alike: vCPUs, the kernel's files, a firmware's table."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import click

from podvm_builder.cli.input_files import hash_file
from podvm_builder.errors import InputError
from podvm_builder.formats.kernel_hashes import KernelHashes, hash_cmdline
from podvm_builder.measure.inputs import Cpu, parse_cpu_signature

_LIMIT = 4 << 30
_DEFAULT_CPU = "EPYC-v4"


def vcpu_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--vcpus``, ``--cpu`` as ``cpus``, and ``--cpu-sig`` as ``signatures``."""
    function = click.option(
        "--cpu-sig", "signatures", multiple=True, metavar="N", help="CPU signature (CPUID leaf 1, EAX); repeatable."
    )(function)
    function = click.option(
        "--cpu",
        "cpus",
        multiple=True,
        metavar="MODEL",
        help=f"QEMU CPU model or family/model/stepping; repeatable.  [default: {_DEFAULT_CPU}]",
    )(function)
    return click.option("--vcpus", default="1", show_default=True, metavar="LIST", help="vCPU counts, e.g. 1,2,4-8.")(
        function
    )


def kernel_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--kernel``, ``--initrd`` and ``--append``."""
    path = click.Path()
    function = click.option("--append", metavar="TEXT", help="Command line exactly as given to QEMU.")(function)
    function = click.option("--initrd", type=path, metavar="FILE", help="Initrd that QEMU loads with the kernel.")(
        function
    )
    return click.option(
        "--kernel", type=path, metavar="FILE", help="Kernel or UKI that QEMU loads with kernel-hashes=on."
    )(function)


def cpu_models(names: Sequence[str], signatures: Sequence[str]) -> list[Cpu]:
    """Return the CPUs that ``--cpu`` and ``--cpu-sig`` name; the default one where there are none.

    Raises:
        InputError: PVB228, a name or a signature that is none.
    """
    return [*map(Cpu.parse, names), *map(parse_cpu_signature, signatures)] or [Cpu.parse(_DEFAULT_CPU)]


def kernel_hashes(kernel: str | None, initrd: str | None, append: str | None) -> KernelHashes | None:
    """Return the hashes of what `--kernel`, `--initrd` and `--append` name; None without a kernel.

    Raises:
        InputError: a file that cannot be read (PVB320), an initrd or a command line without a kernel, a file over
            4 GiB, or a NUL in the command line (PVB232).
    """
    if kernel is None:
        if initrd is not None or append is not None:
            option = "--append" if initrd is None else "--initrd"
            raise InputError(f"`{option}` without `--kernel`: nothing measures it", code="PVB232")
        return None
    cmdline = hash_cmdline(os.fsencode(append or ""))
    kernel_digest = hash_file(kernel, limit=_LIMIT, what="kernel")
    if initrd is None:
        return KernelHashes(kernel=kernel_digest, cmdline=cmdline)
    return KernelHashes(kernel=kernel_digest, cmdline=cmdline, initrd=hash_file(initrd, limit=_LIMIT, what="initrd"))


def tell_unknown_entries(guids: tuple[str, ...]) -> None:
    """Name the entries of a firmware's table that were ignored."""
    for guid in guids:
        click.echo(f"note: the firmware's table has an entry that is not known here, ignored: {guid}", err=True)
