"""The argument lists of QEMU and swtpm, whole."""

from __future__ import annotations

from podvm_builder.boot.machine import Accelerator, Machine, Wiring, probe_arguments, qemu_arguments, swtpm_arguments

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
