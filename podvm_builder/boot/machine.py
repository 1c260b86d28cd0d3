"""The machine that an image is booted on, as QEMU's argument list. Pure.

As its cloud would run it, as nearly as QEMU can: q35, OVMF, a TPM 2.0, the disk as the first boot option, a
disk with user data beside it, and a network on which nothing can be reached. Sockets come as descriptors, so
that no path is needed for them and none is left behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from podvm_builder.measure.boot_log import DISK

CPU = "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,+pclmulqdq,+aes,+rdrand"
"""CPU model with what Debian's and OVMF's code asks for and emulation does fast. AES comes with PCLMULQDQ:
without it the kernel's ``aesni_intel`` stops with an invalid opcode. No AVX: it is slow to emulate."""

FORWARDER_PORT = 15150
"""TCP port of agent-protocol-forwarder, the last link of the activation chain."""

BANKS = ("sha1", "sha256", "sha384")
"""PCR banks that are compared; swtpm has sha512 besides."""

_CODE_DRIVE = "if=pflash,format=raw,unit=0,readonly=on,file="


class Disk(StrEnum):
    """What the disk is attached to."""

    VIRTIO = "virtio"
    NVME = "nvme"
    SATA = "sata"


_DEVICES = {Disk.VIRTIO: "virtio-blk-pci", Disk.NVME: "nvme,serial=podvm", Disk.SATA: "ide-hd,bus=ide.0"}
"""QEMU's devices; q35 comes with an AHCI controller."""


class Accelerator(StrEnum):
    """How QEMU runs guest code."""

    KVM = "kvm"
    TCG = "tcg"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What may differ from one boot to another."""

    vcpus: int = 2
    memory_mib: int = 2048
    accelerator: Accelerator = Accelerator.TCG
    cpu: str = CPU
    secure_boot: str = "absent"
    """``absent``: firmware built without secure boot; ``off``: with it, but without keys; ``on``: with keys."""
    boot: str = DISK
    """``disk``: firmware starts the UKI from the disk; ``direct``: QEMU hands it over."""
    disk: Disk = Disk.VIRTIO
    smbios: tuple[str, ...] = ()
    """OEM strings (SMBIOS type 11) that the host gives the guest."""
    fw_cfg: tuple[tuple[str, str], ...] = ()
    """Names and texts of fw_cfg files that the host gives the guest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """Paths as QEMU sees them, and descriptors that it inherits."""

    image: str
    """Raw disk; never written to."""
    firmware_code: str
    firmware_vars: str | None
    """A copy of the build's variable store, written to; None for firmware that is one image without a store."""
    kernel: str | None = None
    """The UKI, where QEMU hands it over."""
    hashes: tuple[str, int] | None = None
    """A table of kernel hashes and the guest address that the firmware wants it at."""
    user_data: str
    """ISO 9660 image labelled ``cidata``."""
    tpm_fd: int
    """Connected socket to swtpm, or to the relay before it."""
    qmp_fd: int
    """Connected socket for QEMU's monitor."""


def qemu_arguments(machine: Machine, wiring: Wiring) -> tuple[str, ...]:
    """Return the argument list, the program's name included; the serial console is on standard output."""
    accelerator = "tcg,thread=multi" if machine.accelerator is Accelerator.TCG else "kvm"
    return (
        *_base(machine, accelerator),
        *_firmware(machine, wiring.firmware_code, wiring.firmware_vars),
        *_kernel(wiring),
        *("-object", "rng-random,id=rng0,filename=/dev/urandom"),
        *("-device", "virtio-rng-pci,rng=rng0"),
        # what the guest writes goes to a file that QEMU has already unlinked
        *("-drive", f"if=none,id=disk0,format=raw,snapshot=on,cache=unsafe,file={_path(wiring.image)}"),
        *("-device", f"{_DEVICES[machine.disk]},drive=disk0" + (",bootindex=1" if machine.boot == DISK else "")),
        *("-drive", f"if=none,id=cidata,format=raw,readonly=on,file={_path(wiring.user_data)}"),
        *("-device", "virtio-blk-pci,drive=cidata"),
        # nothing can be reached from the guest; the host reaches one port, on a port of the kernel's choice
        *("-netdev", f"user,id=net0,restrict=on,hostfwd=tcp:127.0.0.1:0-:{FORWARDER_PORT}"),
        *("-device", "virtio-net-pci,netdev=net0,romfile="),
        *("-chardev", f"socket,id=tpm,fd={wiring.tpm_fd}"),
        *("-tpmdev", "emulator,id=tpm0,chardev=tpm"),
        *("-device", "tpm-crb,tpmdev=tpm0"),
        *("-chardev", f"socket,id=qmp,fd={wiring.qmp_fd}"),
        *("-mon", "chardev=qmp,mode=control"),
        *(word for text in machine.smbios for word in ("-smbios", f"type=11,value={_path(text)}")),
        *(word for name, text in machine.fw_cfg for word in ("-fw_cfg", f"name={_path(name)},string={_path(text)}")),
    )


def probe_arguments(machine: Machine, firmware_code: str, *, flash: bool = True) -> tuple[str, ...]:
    """Return the argument list of a machine that only runs its firmware: enough to see whether KVM works.

    Args:
        machine: the machine to be.
        firmware_code: as QEMU sees it.
        flash: the firmware wants flash with a variable store beside it, rather than to be one image.
    """
    code = ("-drive", _CODE_DRIVE + _path(firmware_code)) if flash else ("-bios", firmware_code)
    return (*_base(machine, "kvm"), *code)


def swtpm_arguments(*, state: str, control_fd: int) -> tuple[str, ...]:
    """Return swtpm's argument list: TPM 2.0 with default banks, its control channel on a connected socket."""
    return (
        *("swtpm", "socket", "--tpm2", "--terminate"),
        *("--tpmstate", f"dir={state}"),
        *("--ctrl", f"type=unixio,clientfd={control_fd}"),
        *("--flags", "not-need-init"),
    )


def _base(machine: Machine, accelerator: str) -> tuple[str, ...]:
    return (
        "qemu-system-x86_64",
        # firmware with secure boot keeps its variables from the guest by system management mode
        *("-machine", "q35,smm=off" if machine.secure_boot == "absent" else "q35,smm=on"),
        *("-accel", accelerator),
        *("-cpu", machine.cpu),
        *("-smp", str(machine.vcpus)),
        *("-m", str(machine.memory_mib)),
        *("-nodefaults", "-no-user-config", "-no-reboot"),
        *("-display", "none"),
        *("-serial", "stdio"),
    )


def _firmware(machine: Machine, code: str, variables: str | None) -> tuple[str, ...]:
    if variables is None:
        return ("-bios", code)
    secure = ("-global", "driver=cfi.pflash01,property=secure,value=on") if machine.secure_boot != "absent" else ()
    return (
        *secure,
        *("-drive", _CODE_DRIVE + _path(code)),
        *("-drive", f"if=pflash,format=raw,unit=1,file={_path(variables)}"),
    )


def _kernel(wiring: Wiring) -> tuple[str, ...]:
    if wiring.kernel is None:
        return ()
    if wiring.hashes is None:
        return ("-kernel", wiring.kernel)
    path, address = wiring.hashes
    # where QEMU puts the table itself once SEV is on
    return ("-kernel", wiring.kernel, "-device", f"loader,file={_path(path)},addr={address:#x},force-raw=on")


def _path(path: str) -> str:
    """Write a path in an option list, where a comma stands doubled."""
    return path.replace(",", ",,")
