"""SNP launch digests against the PyPI package sev-snp-measure, over generated firmware and every input."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podvm_builder.catalog.cpus import SIGNATURES
from podvm_builder.formats.id_block import IdBlock, decode_id_auth, encode_id_block, key_digest
from podvm_builder.formats.kernel_hashes import KernelHashes, hash_cmdline
from podvm_builder.measure.id_block import sign_id_block, verify_id_block
from podvm_builder.measure.inputs import Cpu
from podvm_builder.measure.sev import sev_es_launch_digest, sev_launch_digest
from podvm_builder.measure.snp import launch_digest
from podvm_builder.measure.snp_launch import SnpLaunch, firmware_digest
from podvm_builder.measure.svsm import place_svsm
from podvm_builder.measure.vmm import Vmm, find_vmm
from tests.support import firmware as fw
from tests.support.real_firmware import debian_ovmf

guest = pytest.importorskip("sevsnpmeasure.guest", reason="sev-snp-measure is not installed")
from sevsnpmeasure import vcpu_types  # noqa: E402
from sevsnpmeasure.sev_mode import SevMode  # noqa: E402
from sevsnpmeasure.vmm_types import VMMType  # noqa: E402

THEIR_VMMS = {"qemu": VMMType.QEMU, "ec2": VMMType.ec2, "gce": VMMType.gce}


def theirs(
    path: Path,
    *,
    vmm: str,
    vcpus: int,
    signature: int,
    features: int,
    kernel: Path | None = None,
    initrd: Path | None = None,
    append: str = "",
) -> bytes:
    digest = guest.calc_launch_digest(
        SevMode.SEV_SNP,
        vcpus,
        signature,
        str(path),
        str(kernel) if kernel else "",
        str(initrd) if initrd else "",
        append,
        features,
        vmm_type=THEIR_VMMS[vmm],
    )
    return bytes(digest)


@st.composite
def layouts(draw: st.DrawFn) -> fw.Firmware:
    """Firmware with sections in any order, some of size zero, hash tables anywhere in their page."""
    table_at = draw(st.integers(0, (4096 - 176) // 16)) * 16
    sizes = st.integers(0, 5).map(lambda pages: pages * 4096)
    sections = [
        (0x800000, draw(sizes), fw.MEMORY),
        (0x80A000, draw(sizes), fw.MEMORY),
        (0x810000, draw(sizes), fw.SVSM_CAA),
        (0x820000, 4096, fw.SECRETS),
        (0x821000, 4096, fw.CPUID),
        (0x822000, 4096, fw.KERNEL_HASHES),
    ]
    return fw.Firmware(
        size=draw(st.sampled_from([4096, 8192, 64 << 10, 256 << 10])),
        seed=draw(st.integers(0, 2**32)),
        unique_pages=draw(st.integers(0, 16)),
        reset=draw(st.integers(0, 2**32 - 1)),
        hash_table=(0x822000 + table_at, 0x400),
        sev=tuple(draw(st.permutations(sections))),
        with_tdx=draw(st.booleans()),
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    layout=layouts(),
    vmm=st.sampled_from(sorted(THEIR_VMMS)),
    vcpus=st.integers(1, 20),
    signature=st.integers(1, 2**32 - 1),
    features=st.integers(0, 2**63 - 1).map(lambda bits: bits << 1 | 1),
    kernel=st.none() | st.binary(max_size=300),
    initrd=st.none() | st.binary(max_size=300),
    append=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40),
)
def test_generated_firmware(
    *,
    tmp_path: Path,
    layout: fw.Firmware,
    vmm: str,
    vcpus: int,
    signature: int,
    features: int,
    kernel: bytes | None,
    initrd: bytes | None,
    append: str,
) -> None:
    image = layout.build()
    files = {"firmware": image, "kernel": kernel, "initrd": initrd}
    paths = {name: tmp_path / name for name, data in files.items() if data is not None}
    for name, path in paths.items():
        path.write_bytes(files[name] or b"")
    hashes = None
    if kernel is not None:
        hashes = KernelHashes(
            kernel=hashlib.sha256(kernel).digest(),
            initrd=hashlib.sha256(initrd or b"").digest(),
            cmdline=hash_cmdline(append.encode()),
        )
    ours = launch_digest(
        image,
        cpu=Cpu.of_signature(signature),
        vcpus=vcpus,
        vmm=find_vmm(vmm),
        guest_features=features,
        kernel=hashes,
    )
    assert ours == theirs(
        paths["firmware"],
        vmm=vmm,
        vcpus=vcpus,
        signature=signature,
        features=features,
        kernel=paths.get("kernel"),
        initrd=paths.get("initrd") if kernel is not None else None,
        append=append,
    )


@pytest.fixture(scope="module")
def amdsev(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 4 MiB image laid out like OVMF.amdsev.fd; always there, unlike the real one."""
    path = tmp_path_factory.mktemp("firmware") / "OVMF.amdsev.fd"
    path.write_bytes(fw.Firmware().build())
    return path


@pytest.mark.parametrize("vmm", sorted(THEIR_VMMS))
@pytest.mark.parametrize("cpu", ["EPYC-v4", "EPYC-Rome", "EPYC-Milan", "EPYC-Genoa", "EPYC-Turin"])
@pytest.mark.parametrize(("vcpus", "features"), [(1, 0x1), (8, 0x21), (255, 0x1)])
def test_a_whole_firmware(amdsev: Path, vmm: str, cpu: str, vcpus: int, features: int) -> None:
    model = Cpu.parse(cpu)
    ours = launch_digest(amdsev.read_bytes(), cpu=model, vcpus=vcpus, vmm=find_vmm(vmm), guest_features=features)
    assert ours == theirs(amdsev, vmm=vmm, vcpus=vcpus, signature=model.signature, features=features)


@pytest.mark.parametrize("name", ["ovmf_AmdSev_suffix.bin", "ovmf_OvmfX64_suffix.bin", "google-clean-example-2MiB.fd"])
@pytest.mark.parametrize("vmm", sorted(THEIR_VMMS))
def test_public_vectors(vectors: Path, name: str, vmm: str) -> None:
    path = vectors / "firmware" / name
    ours = launch_digest(path.read_bytes(), cpu=Cpu.parse("EPYC-v4"), vcpus=4, vmm=find_vmm(vmm))
    assert ours == theirs(path, vmm=vmm, vcpus=4, signature=SIGNATURES["EPYC-v4"], features=1)


def test_debians_firmware() -> None:
    path = debian_ovmf()
    ours = launch_digest(path.read_bytes(), cpu=Cpu.parse("EPYC-Genoa"), vcpus=16)
    assert ours == theirs(path, vmm="qemu", vcpus=16, signature=SIGNATURES["EPYC-Genoa"], features=1)


def test_the_firmware_seed(amdsev: Path) -> None:
    assert firmware_digest(amdsev.read_bytes()) == guest.calc_snp_ovmf_hash(str(amdsev))


def test_signatures_of_the_models_both_know() -> None:
    assert {name: SIGNATURES[name] for name in vcpu_types.CPU_SIGS} == vcpu_types.CPU_SIGS


def test_where_the_oracle_is_wrong_firmware_without_metadata(tmp_path: Path) -> None:
    """It gives a digest for firmware that no VMM starts as an SNP guest; we refuse (PVB223)."""
    from podvm_builder.errors import FormatError

    path = tmp_path / "plain.fd"
    path.write_bytes(fw.Firmware(size=64 << 10, unique_pages=4, sev=None).build())
    assert len(theirs(path, vmm="qemu", vcpus=1, signature=SIGNATURES["EPYC-v4"], features=1)) == 48
    with pytest.raises(FormatError) as caught:
        launch_digest(path.read_bytes(), cpu=Cpu.parse("EPYC-v4"))
    assert caught.value.code == "PVB223"


def test_where_the_oracle_is_wrong_no_vcpus(amdsev: Path) -> None:
    """It gives a digest for a guest without vCPUs; we refuse (PVB227)."""
    from podvm_builder.errors import InputError

    assert len(theirs(amdsev, vmm="qemu", vcpus=0, signature=SIGNATURES["EPYC-v4"], features=1)) == 48
    with pytest.raises(InputError) as caught:
        launch_digest(amdsev.read_bytes(), cpu=Cpu.parse("EPYC-v4"), vcpus=0)
    assert caught.value.code == "PVB227"


KERNELS = st.none() | st.tuples(
    st.binary(max_size=100), st.none() | st.binary(max_size=100), st.text("ab =", max_size=9)
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    layout=layouts(),
    vcpus=st.integers(1, 20),
    signature=st.integers(1, 2**32 - 1),
    kernel=KERNELS,
)
def test_sev_and_sev_es(
    *,
    tmp_path: Path,
    layout: fw.Firmware,
    vcpus: int,
    signature: int,
    kernel: tuple[bytes, bytes | None, str] | None,
) -> None:
    path = tmp_path / "firmware"
    path.write_bytes(layout.build())
    hashes, files, append = None, ["", ""], ""
    if kernel is not None:
        append = kernel[2]
        hashes = KernelHashes(
            kernel=hashlib.sha256(kernel[0]).digest(),
            initrd=hashlib.sha256(kernel[1] or b"").digest(),
            cmdline=hash_cmdline(append.encode()),
        )
        for index, data in enumerate(kernel[:2]):
            if isinstance(data, bytes):
                (tmp_path / str(index)).write_bytes(data)
                files[index] = str(tmp_path / str(index))
    their_sev, their_es = (
        guest.calc_launch_digest(mode, vcpus, signature, str(path), *files, append, 0)
        for mode in (SevMode.SEV, SevMode.SEV_ES)
    )
    assert sev_launch_digest(layout.build(), kernel=hashes) == their_sev
    cpu = Cpu.of_signature(signature)
    assert sev_es_launch_digest(layout.build(), cpu=cpu, vcpus=vcpus, kernel=hashes) == their_es


CODE = fw.Firmware(size=64 << 10, unique_pages=4, sev=None)
SVSM = fw.Firmware(
    size=32 << 10,
    seed=7,
    unique_pages=6,
    reset=None,
    hash_table=None,
    with_tdx=False,
    extra=((fw.SVSM_INFO, (0x1234).to_bytes(4, "little")),),
)


def their_svsm(folder: Path, *, vcpus: int, vars_size: int, features: int = 1, kernel: str = "") -> bytes:
    code, svsm = folder / "OVMF_CODE.fd", folder / "svsm.bin"
    code.write_bytes(CODE.build())
    svsm.write_bytes(SVSM.build())
    return bytes(
        guest.calc_launch_digest(
            SevMode.SEV_SNP_SVSM,
            vcpus,
            SIGNATURES["EPYC-v4"],
            str(code),
            kernel,
            "",
            "",
            features,
            svsm_file=str(svsm),
            ovmf_vars_size=vars_size,
        )
    )


def our_svsm(*, vcpus: int, vars_size: int, features: int = 1, vmm: Vmm | None = None) -> bytes:
    svsm = place_svsm(SVSM.build(), CODE.build(), vars_size=vars_size)
    cpu = Cpu.parse("EPYC-v4")
    return launch_digest(
        CODE.build(), cpu=cpu, vcpus=vcpus, vmm=vmm or find_vmm("qemu"), guest_features=features, svsm=svsm
    )


@pytest.mark.parametrize("vcpus", [1, 2, 9])
@pytest.mark.parametrize("vars_size", [0, 0x84000])
def test_where_the_oracle_is_wrong_fcw_with_an_svsm(tmp_path: Path, vcpus: int, vars_size: int) -> None:
    """It means to set FCW to 0x37f and sets nothing: its keyword is `fcw`, and the field's name is `x87_fcw`.

    KVM takes MXCSR and FCW from one FPU state: a host whose MXCSR is 0x1f80, as the oracle says, has FCW 0x37f (ours),
    and an older one has zero in both. With its FCW, and all else as ours, we get its value.
    """
    theirs = their_svsm(tmp_path, vcpus=vcpus, vars_size=vars_size)
    qemu = find_vmm("qemu")
    with_its_fcw = qemu._replace(reset=qemu.reset._replace(fcw=0))
    assert our_svsm(vcpus=vcpus, vars_size=vars_size, vmm=with_its_fcw) == theirs
    assert our_svsm(vcpus=vcpus, vars_size=vars_size) != theirs
    assert qemu.reset.fcw == 0x37F


def test_where_the_oracle_is_wrong_features_and_kernel_with_an_svsm(tmp_path: Path) -> None:
    """It takes guest features and a kernel and ignores both; ours counts the first and refuses the second (PVB238)."""
    from podvm_builder.errors import InputError

    assert their_svsm(tmp_path, vcpus=1, vars_size=0, features=0x21) == their_svsm(tmp_path, vcpus=1, vars_size=0)
    assert our_svsm(vcpus=1, vars_size=0, features=0x21) != our_svsm(vcpus=1, vars_size=0)
    kernel = tmp_path / "kernel"
    kernel.write_bytes(b"kernel")
    assert their_svsm(tmp_path, vcpus=1, vars_size=0, kernel=str(kernel)) == their_svsm(tmp_path, vcpus=1, vars_size=0)
    with pytest.raises(InputError) as caught:
        SnpLaunch(
            CODE.build(),
            kernel=KernelHashes(kernel=bytes(32)),
            svsm=place_svsm(SVSM.build(), CODE.build(), vars_size=0),
        )
    assert caught.value.code == "PVB238"


def test_id_blocks_of_its_own_tool(tmp_path: Path) -> None:
    """Its signatures are random: the blocks are equal, and each side's signatures verify with ours."""
    id_block = pytest.importorskip("sevsnpmeasure.id_block", reason="its ID block tool needs cryptography")
    keys = [ec.derive_private_key(number, ec.SECP384R1()) for number in (2**300 + 1, 2**200 + 1)]
    paths = [tmp_path / "id.pem", tmp_path / "author.pem"]
    for path, key in zip(paths, keys, strict=True):
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    digest = bytes(range(48))
    printed = id_block.snp_calc_id_block(digest, *map(str, paths))
    theirs = dict(re.findall(r"(id-block|id-auth|id_key_hash|author_key)[=:] ?([A-Za-z0-9+/=]+)", printed))
    block = IdBlock(launch_digest=digest)
    assert base64.b64decode(theirs["id-block"]) == encode_id_block(block)
    their_auth = decode_id_auth(base64.b64decode(theirs["id-auth"]))
    assert verify_id_block(block, their_auth)
    ours = sign_id_block(block, id_key=keys[0], author_key=keys[1])
    assert (ours.id_key, ours.author_key) == (their_auth.id_key, their_auth.author_key)
    assert key_digest(ours.id_key) == base64.b64decode(theirs["id_key_hash"])
    assert ours.author_key is not None
    assert key_digest(ours.author_key) == base64.b64decode(theirs["author_key"])
