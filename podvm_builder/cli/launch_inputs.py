"""What the launch digest commands read alike: the kernel's files, and what they say of a firmware's table."""

from __future__ import annotations

import os

import click

from podvm_builder.cli.input_files import hash_file
from podvm_builder.errors import InputError
from podvm_builder.formats.kernel_hashes import KernelHashes, hash_cmdline

_LIMIT = 4 << 30


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
