"""Tables of a local QEMU against RTMR 0 of others: of machines made by a patched QEMU, and of a live TDX guest."""

from __future__ import annotations

import pytest

from podvm_builder.boot.tdx_tables import Emulation, read_machine
from podvm_builder.errors import BuildFailed, InputError, Lacking
from podvm_builder.formats.acpi import derive_files, enabled_cpus
from podvm_builder.formats.smbios import measured_table
from podvm_builder.measure.boot_log import DIRECT
from podvm_builder.measure.tdx_boot import firmware_boot
from podvm_builder.measure.tdx_firmware import TdxFirmware, read_firmware
from podvm_builder.measure.tdx_machine import UI_APP_ALONE, TdxMachine
from podvm_builder.measure.tdx_registers import measure_rtmrs
from podvm_builder.tools.tree import ToolsTree
from tests.support.real_firmware import debian_ovmf
from tests.support.tools_tree import tree_root

pytestmark = pytest.mark.image

MIB = 1 << 20
MACHINE = (
    *("-machine", "q35,kernel_irqchip=split,memory-backend=mem0,smm=off,pic=off"),
    *("-global", "q35-pcihost.pci-hole64-size=4096G"),
)


def _firmware() -> TdxFirmware:
    firmware = read_firmware(debian_ovmf().read_bytes())
    if firmware.build is None:
        pytest.skip("another build of OVMF than the published values'")
    return firmware


def _read(emulation: Emulation, firmware: bytes) -> TdxMachine:
    root = tree_root()
    if not (root / "usr/bin/qemu-system-x86_64").exists():
        pytest.skip("the tools tree has no QEMU")
    tree = ToolsTree(root=root, spec_id="", packages_digest="", versions={}, archive=None)
    try:
        return read_machine(emulation, firmware, tree=tree)
    except Lacking as error:
        pytest.skip(f"the tools tree cannot be entered here: {error.message}")


def _rtmr0(machine: TdxMachine, firmware: TdxFirmware) -> str:
    rows, _ = measure_rtmrs(
        firmware_boot(DIRECT, secure_boot="absent", keys=firmware.keys),
        firmware=firmware,
        layout=firmware.layout,
        layout_reason="",
        machines=[machine],
    )
    assert rows[0].value is not None, rows[0].reason
    return rows[0].value.hex()


# virtee/tdx-measure, tests/fixtures: q35-with-hpet, made by a patched QEMU; and runtime-capture, whose tables are those
# of a live guest. There the third device is a vhost-vsock, which needs a device node; its place alone is in the tables
@pytest.mark.parametrize(
    ("mib", "devices", "rtmr0"),
    [
        (
            4096,
            ("virtio-rng-pci", "virtio-balloon-pci", "virtio-scsi-pci,id=scsi0"),
            "507b21ccfe504463c9a324a440e19707ef84e03663cf6c6013540ce79131f9675a7852cfa65303d931c2a79389ffff49",
        ),
        (
            16384,
            (
                "e1000,netdev=net0,bus=pcie.0,addr=0x2,romfile=",
                "virtio-rng-pci",
                *(f"virtio-scsi-pci,id=scsi{n},disable-legacy=on,iommu_platform=true" for n in range(3)),
            ),
            "a2749c840579faca6adf0c9c3ab69f277556cda67f8a6b3553c2c7fbf00e9706ec77a6f6960d802433b339ff8b72eefb",
        ),
    ],
    ids=["hpet", "live-guest"],
)
def test_published_values_of_rtmr_0(mib: int, devices: tuple[str, ...], rtmr0: str) -> None:
    firmware = _firmware()
    arguments = (
        *MACHINE,
        *("-object", f"memory-backend-ram,id=mem0,size={mib}M"),
        *("-netdev", "hubport,id=net0,hubid=0"),
        *(word for device in devices for word in ("-device", device)),
    )
    machine = _read(
        Emulation(memory=mib * MIB, vcpus=8, cpu="Skylake-Server", phys_bits=46, arguments=arguments), firmware.image
    )
    if not str(machine.variant["qemu"]).startswith("10."):
        pytest.skip(f"QEMU {machine.variant['qemu']} makes other tables than the 10.x of the published values")
    assert machine.acpi == derive_files(machine.acpi.tables if machine.acpi else b"")
    assert _rtmr0(machine, firmware) == rtmr0


def test_everything_that_a_machine_is_read_for() -> None:
    firmware = _firmware()
    machine = _read(Emulation(memory=1024 * MIB, vcpus=3), firmware.image)
    assert machine.acpi is not None
    assert enabled_cpus(machine.acpi.tables) == 3
    # what the firmware's own store held when the kernel was started is what is assumed where nobody can look
    assert machine.entries == UI_APP_ALONE
    assert machine.settings == {"BootMenu": b"\0\0", "bootorder": b"/rom@genroms/linuxboot_dma.bin\0"}
    assert machine.smbios is not None
    assert b"EDK II" in measured_table(machine.smbios)
    assert machine.variant["vcpus"] == 3
    assert machine.variant["phys_bits"] == 46


def test_what_qemu_refuses_is_said_in_its_words() -> None:
    with pytest.raises(BuildFailed, match="no-such-device") as caught:
        _read(Emulation(memory=256 * MIB, vcpus=1, arguments=("-device", "no-such-device")), _firmware().image)
    assert caught.value.code == "PVB530"


@pytest.mark.parametrize("argument", ["-accel", "-m", "--kernel", "-bios", "-S", "-display=none"])
def test_arguments_that_are_set_here_are_refused(argument: str) -> None:
    with pytest.raises(InputError) as caught:
        read_machine(Emulation(memory=256 * MIB, vcpus=1, arguments=(argument, "x")), b"", tree=None)
    assert caught.value.code == "PVB216"
