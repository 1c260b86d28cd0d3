"""Secure-boot keys of one run: made, enrolled in a variable store, and used to sign a copy of the image's programs.

The keys live in the run's work folder and go with it. Programs of the tools tree do the work: openssl makes the
certificates, virt-fw-vars the store, sbsign the signatures; mtools changes the file system, so that the partition
table and every other partition stay as they are.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from podvm_builder.errors import BuildFailed
from podvm_builder.formats.fat import FatFilesystem
from podvm_builder.formats.gpt import ESP, esp, parse_gpt
from podvm_builder.tools.files import FileReader, copy_sparse, writing
from podvm_builder.tools.sandbox import Bind
from podvm_builder.tools.tree import ToolsTree

OWNER = "6f4c3a54-5d6f-4d0f-8a0b-2f1d0d0b6c11"
"""Signature owner in the variables, a GUID of our own."""

_NAMES = ("PK", "KEK", "db")
_PROGRAM_FOLDERS = ("EFI/BOOT", "EFI/Linux", "loader/addons")
_INSIDE = "/mnt/keys"
_TIMEOUT = 120.0


class SigningKeys:
    """Three key pairs in a folder of their own, and the store that they are enrolled in.

    Args:
        tree: the tools tree.
        folder: an empty folder; private keys are in it, so the caller removes it.
    """

    def __init__(self, tree: ToolsTree, folder: Path) -> None:
        """Only remember; :meth:`enrol` makes the keys."""
        self._tree = tree
        self._folder = folder

    def enrol(self, empty: str) -> Path:
        """Make the keys and return a variable store that has them and turns secure boot on.

        Args:
            empty: an empty store, as the tree has it.

        Raises:
            BuildFailed: PVB516, a program of the tools tree failed.
        """
        for name in _NAMES:
            self._run(
                *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-noenc", "-sha256", "-days", "3650"),
                *("-subj", f"/CN=podvm-build boot {name}/", "-keyout", f"{name}.key", "-out", f"{name}.crt"),
            )
        self._run(
            *("virt-fw-vars", "--input", empty, "--output", "vars.fd"),
            *("--set-pk", OWNER, "PK.crt", "--add-kek", OWNER, "KEK.crt", "--add-db", OWNER, "db.crt"),
            "--secure-boot",
        )
        return self._folder / "vars.fd"

    def sign_image(self, image: Path) -> Path:
        """Return a copy of a disk image whose EFI programs are signed.

        Raises:
            BuildFailed: PVB516, a program failed; the EFI system partition may have no room for a signature.
            FormatError: the image has no partition table or EFI system partition.
        """
        copy = self._folder / "signed.raw"
        with writing(copy):
            copy_sparse(image, copy)
        with FileReader(copy) as reader:
            table = parse_gpt(reader)
            programs = tuple(_programs(FatFilesystem(esp(reader, table))))
            offset = next(partition.offset for partition in table.partitions if partition.type == ESP)
        disk = ("-i", f"signed.raw@@{offset}")
        for path in programs:
            self._run("mcopy", *disk, "-n", f"::/{path}", "program.efi")
            self._sign("program.efi", "program.signed")
            self._run("mdel", *disk, f"::/{path}")
            self._run("mcopy", *disk, "program.signed", f"::/{path}")
            for name in ("program.efi", "program.signed"):
                (self._folder / name).unlink()
        return copy

    def sign_program(self, program: Path) -> Path:
        """Return a signed copy of one EFI program.

        Raises:
            BuildFailed: PVB516, it could not be signed.
        """
        unsigned = self._folder / "handed-over.efi"
        with writing(unsigned):
            copy_sparse(program, unsigned)
        self._sign(unsigned.name, "handed-over.signed")
        return self._folder / "handed-over.signed"

    def _sign(self, unsigned: str, signed: str) -> None:
        self._run("sbsign", "--key", "db.key", "--cert", "db.crt", "--output", signed, unsigned)

    def _run(self, *args: str) -> None:
        try:
            done = self._tree.run(args, binds=[Bind(host=self._folder, inside=_INSIDE)], cwd=_INSIDE, timeout=_TIMEOUT)
        except subprocess.TimeoutExpired:
            raise _failed(args, f"it did not end within {_TIMEOUT:.0f} s") from None
        if done.returncode != 0:
            said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
            raise _failed(args, "; ".join(said[-3:]) or f"exit status {done.returncode}")


def _programs(filesystem: FatFilesystem) -> Iterator[str]:
    """Yield the paths of what firmware may be asked to load from an EFI system partition."""
    folders = list(_PROGRAM_FOLDERS)
    while folders:
        folder = folders.pop(0)
        for entry in filesystem.list(folder):
            path = f"{folder}/{entry.name}"
            if entry.is_folder and entry.name.lower().endswith(".efi.extra.d"):
                folders.append(path)
            elif not entry.is_folder and entry.name.lower().endswith(".efi"):
                yield path


def _failed(args: Sequence[str], why: str) -> BuildFailed:
    return BuildFailed(f"`{args[0]}` of the tools tree failed: {why}", code="PVB516")
