"""The argument lists of QEMU and swtpm, whole."""

from __future__ import annotations

from dataclasses import replace

import pytest

from podvm_builder.boot.machine import (
    Accelerator,
    Disk,
    Machine,
    Wiring,
    probe_arguments,
    qemu_arguments,
    swtpm_arguments,
)

WIRING = Wiring(
    image="/mnt/a,b.raw",
    firmware_code="/usr/share/OVMF/CODE.fd",
    firmware_vars="/mnt/vars.fd",
    user_data="/mnt/cidata.iso",
    tpm_fd=7,
    qmp_fd=9,
)


def test_the_machine_as_it_is_booted() -> None:
    assert " ".join(qemu_arguments(Machine(vcpus=4, memory_mib=1024), WIRING)).split(" -") == [
        "qemu-system-x86_64",
        "machine q35,smm=off",
        "accel tcg,thread=multi",
        "cpu qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,+pclmulqdq,+aes,+rdrand",
        "smp 4",
        "m 1024",
        "nodefaults",
        "no-user-config",
        "no-reboot",
        "display none",
        "serial stdio",
        "drive if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/CODE.fd",
        "drive if=pflash,format=raw,unit=1,file=/mnt/vars.fd",
        "object rng-random,id=rng0,filename=/dev/urandom",
        "device virtio-rng-pci,rng=rng0",
        "drive if=none,id=disk0,format=raw,snapshot=on,cache=unsafe,file=/mnt/a,,b.raw",
        "device virtio-blk-pci,drive=disk0,bootindex=1",
        "drive if=none,id=cidata,format=raw,readonly=on,file=/mnt/cidata.iso",
        "device virtio-blk-pci,drive=cidata",
        "netdev user,id=net0,restrict=on,hostfwd=tcp:127.0.0.1:0-:15150",
        "device virtio-net-pci,netdev=net0,romfile=",
        "chardev socket,id=tpm,fd=7",
        "tpmdev emulator,id=tpm0,chardev=tpm",
        "device tpm-crb,tpmdev=tpm0",
        "chardev socket,id=qmp,fd=9",
        "mon chardev=qmp,mode=control",
    ]


def options(machine: Machine, wiring: Wiring = WIRING) -> list[str]:
    return " ".join(qemu_arguments(machine, wiring)).split(" -")


def test_firmware_with_secure_boot_keeps_its_variables_from_the_guest() -> None:
    for state in ("off", "on"):
        words = options(Machine(secure_boot=state))
        assert "machine q35,smm=on" in words
        assert "global driver=cfi.pflash01,property=secure,value=on" in words
    assert "q35,smm=on" in probe_arguments(Machine(secure_boot="off"), "/code.fd")


@pytest.mark.parametrize(
    ("disk", "device"),
    [
        (Disk.VIRTIO, "device virtio-blk-pci,drive=disk0,bootindex=1"),
        (Disk.NVME, "device nvme,serial=podvm,drive=disk0,bootindex=1"),
        (Disk.SATA, "device ide-hd,bus=ide.0,drive=disk0,bootindex=1"),
    ],
)
def test_disks(disk: Disk, device: str) -> None:
    assert device in options(Machine(disk=disk))


def test_a_direct_boot_with_kernel_hashes() -> None:
    wiring = replace(
        WIRING, firmware_code="/mnt/fw.fd", firmware_vars=None, kernel="/mnt/u.efi", hashes=("/mnt/h.bin", 0x810C00)
    )
    words = options(Machine(boot="direct"), wiring)
    assert words[words.index("bios /mnt/fw.fd") :][:3] == [
        "bios /mnt/fw.fd",
        "kernel /mnt/u.efi",
        "device loader,file=/mnt/h.bin,addr=0x810c00,force-raw=on",
    ]
    assert not any("pflash" in word for word in words)
    # the disk is there for the root file system alone
    assert "device virtio-blk-pci,drive=disk0" in words


def test_what_the_host_says_to_the_guest() -> None:
    words = qemu_arguments(Machine(smbios=("a=b,c",), fw_cfg=(("opt/x", "1,2"),)), WIRING)
    assert words[-4:] == ("-smbios", "type=11,value=a=b,,c", "-fw_cfg", "name=opt/x,string=1,,2")


def test_aes_never_comes_without_pclmulqdq() -> None:
    model = Machine().cpu.split(",")
    assert ("+aes" in model) <= ("+pclmulqdq" in model)


def test_kvm_is_one_word() -> None:
    arguments = qemu_arguments(Machine(accelerator=Accelerator.KVM), WIRING)
    assert arguments[arguments.index("-accel") + 1] == "kvm"


def test_the_probe_runs_the_firmware_alone_under_kvm() -> None:
    arguments = probe_arguments(Machine(vcpus=1, memory_mib=256), "/usr/share/OVMF/CODE.fd")
    assert arguments[arguments.index("-accel") + 1] == "kvm"
    assert not any(word.startswith(("virtio", "tpm", "user,")) for word in arguments)


def test_swtpm() -> None:
    assert swtpm_arguments(state="/mnt/tpm", control_fd=5) == (
        *("swtpm", "socket", "--tpm2", "--terminate", "--tpmstate", "dir=/mnt/tpm"),
        *("--ctrl", "type=unixio,clientfd=5", "--flags", "not-need-init"),
    )
