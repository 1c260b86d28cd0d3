"""Secure boot: signature lists, variable stores, signatures, the entry of db that lets an image pass, and PCR 7."""

from __future__ import annotations

import hashlib
import struct
import uuid

import pytest

from podvm_builder.errors import FormatError, InputError
from podvm_builder.formats.authenticode import pe_signatures
from podvm_builder.formats.efi_siglist import (
    SHA256,
    X509,
    X509_SHA256,
    Signature,
    encode_signature_list,
    parse_signature_lists,
    strip_authentication,
)
from podvm_builder.formats.pe import authenticode, parse_pe
from podvm_builder.formats.readers import BytesReader
from podvm_builder.formats.varstore import ENABLE, GLOBAL, SECURITY, parse_variable_store
from podvm_builder.measure.artifacts import read_boot_artifacts
from podvm_builder.measure.secure_boot import Keys, authority, check_state
from podvm_builder.measure.tpm import fold, predict_tpm
from podvm_builder.measure.tpm_boot import TpmBoot
from podvm_builder.model.measurement import Status
from tests.support.disk import ESP, build_disk, build_fat
from tests.support.pe import Section, build_pe, build_uki
from tests.support.signing import der, pkcs7, sign, signer
from tests.support.varstore import Variable, build_store

OWNER = uuid.UUID("11111111-2222-3333-4444-555555555555")


def _cert(name: str, issuer: str | None = None) -> bytes:
    return encode_signature_list(X509, OWNER, signer(name, issuer).der)


def _authority(image: bytes, db: bytes, dbx: bytes = b"") -> Signature | str:
    reader = BytesReader(image)
    pe = parse_pe(reader)
    digest = authenticode(reader, ("sha256",), pe)["sha256"]
    return authority(Keys(pk=_cert("pk"), db=db, dbx=dbx), reader, pe, digest)


def _digest(image: bytes) -> bytes:
    return authenticode(BytesReader(image), ("sha256",))["sha256"]


# --- signature lists


def test_several_lists_with_several_entries() -> None:
    two = struct.pack("<16sIII", SHA256.bytes_le, 28 + 96, 0, 48) + b"".join(
        OWNER.bytes_le + bytes([n]) * 32 for n in (1, 2)
    )
    headed = struct.pack("<16sIII", X509.bytes_le, 28 + 3 + 20, 3, 20) + b"hdr" + OWNER.bytes_le + b"cert"
    entries = parse_signature_lists(two + headed)
    assert [(entry.type, entry.owner, entry.data) for entry in entries] == [
        (SHA256, OWNER, b"\1" * 32),
        (SHA256, OWNER, b"\2" * 32),
        (X509, OWNER, b"cert"),
    ]
    assert entries[2].raw == OWNER.bytes_le + b"cert"
    assert parse_signature_lists(b"") == ()


@pytest.mark.parametrize(
    "data",
    [
        bytes(27),
        struct.pack("<16sIII", bytes(16), 29, 0, 17),
        struct.pack("<16sIII", bytes(16), 28, 1, 17),
        struct.pack("<16sIII", bytes(16), 0, 0, 17),
        struct.pack("<16sIII", bytes(16), 28 + 16, 0, 16) + bytes(16),
        struct.pack("<16sIII", bytes(16), 28 + 18, 0, 17) + bytes(18),
        struct.pack("<16sIII", bytes(16), 28, 0xFFFFFFFF, 17),
        bytes((1 << 20) + 1),
    ],
)
def test_damaged_lists(data: bytes) -> None:
    with pytest.raises(FormatError) as caught:
        parse_signature_lists(data)
    assert caught.value.code == "PVB250"


def test_a_signed_update_is_stripped() -> None:
    content = encode_signature_list(SHA256, OWNER, bytes(32))
    certificate = struct.pack("<IHH16s", 24 + 5, 0x200, 0x0EF1, bytes(16)) + b"pkcs7"
    assert strip_authentication(bytes(16) + certificate + content) == content
    for bad in (b"", bytes(60), bytes(16) + struct.pack("<IHH16s", 99, 0x200, 0x0EF1, bytes(16)) + bytes(9)):
        with pytest.raises(FormatError):
            strip_authentication(bad)


# --- variable stores


def test_a_store_with_deleted_and_replaced_variables() -> None:
    store = parse_variable_store(
        build_store(
            [
                Variable(SECURITY, "db", b"old", state=0x3C),
                Variable(SECURITY, "db", b"in transition", state=0x3E),
                Variable(SECURITY, "db", b"odd"),
                Variable(GLOBAL, "KEK", b"kept in transition", state=0x3E),
                Variable(GLOBAL, "PK", b"never finished", state=0x7F),
            ]
        )
    )
    assert store.get(SECURITY, "db") == b"odd"
    assert store.get(GLOBAL, "KEK") == b"kept in transition"
    assert store.get(GLOBAL, "PK") == b""
    assert not store.secure_boot


@pytest.mark.parametrize(
    ("variables", "state"),
    [
        ([], "off"),
        ([Variable(GLOBAL, "PK", b"x")], "on"),
        ([Variable(GLOBAL, "PK", b"x"), Variable(ENABLE, "SecureBootEnable", b"\1")], "on"),
        ([Variable(GLOBAL, "PK", b"x"), Variable(ENABLE, "SecureBootEnable", b"\0")], "off"),
        ([Variable(ENABLE, "SecureBootEnable", b"\1")], "off"),
    ],
)
def test_the_state_follows_from_the_store(variables: list[Variable], state: str) -> None:
    store = parse_variable_store(build_store(variables))
    check_state(store, state)
    for other in {"absent", "off", "on"} - {state}:
        with pytest.raises(InputError) as caught:
            check_state(store, other)
        assert caught.value.code == "PVB246"


GOOD = build_store([Variable(GLOBAL, "PK", b"x" * 7)], size=8192)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no firmware volume"),
        (bytes(4096), "no firmware volume"),
        (GOOD[:80], "longer than the file"),
        (GOOD[:48] + b"\xff\xff" + GOOD[50:], "longer than the file"),
        (GOOD[:72] + bytes(16) + GOOD[88:], "not one of authenticated"),
        (GOOD[:92] + b"\0" + GOOD[93:], "not formatted"),
        (GOOD[:88] + b"\xff\xff\xff\x7f" + GOOD[92:], "does not fit"),
        (GOOD[:136] + b"\xff\xff\xff\x7f" + GOOD[140:], "longer than the store"),
        (build_store([Variable(GLOBAL, "PK", b"x"), Variable(GLOBAL, "PK", b"y")]), "valid twice"),
    ],
)
def test_damaged_stores(data: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        parse_variable_store(data)
    assert caught.value.code == "PVB251"


# --- signatures and authorities


def test_the_first_matching_entry_of_db_is_the_authority() -> None:
    image = sign(build_uki(), signer("leaf", "ca"))
    leaf, ca, other = signer("leaf", "ca").der, signer("ca").der, signer("other").der
    for db, expected in (
        ([other, ca, leaf], ca),
        ([leaf, ca], leaf),
        ([ca], ca),  # the issuer is not in the signature
    ):
        found = _authority(image, b"".join(encode_signature_list(X509, OWNER, entry) for entry in db))
        assert isinstance(found, Signature)
        assert found.data == expected


def test_a_chain_through_an_embedded_certificate() -> None:
    middle = signer("middle", "root")
    leaf = signer("deep leaf", "middle")
    image = build_uki()
    signed = sign(image, pkcs7(_digest(image), leaf, (middle, leaf)))
    found = _authority(signed, _cert("root"))
    assert isinstance(found, Signature)
    assert found.data == signer("root").der
    assert _authority(sign(image, leaf), _cert("root")) == "no certificate of db vouches for its signature"


def test_digests_in_db_and_dbx() -> None:
    image = sign(build_uki(), signer("leaf", "ca"))
    listed = encode_signature_list(SHA256, OWNER, _digest(image))
    found = _authority(image, listed)
    assert isinstance(found, Signature)
    assert found.type == SHA256
    assert isinstance(_authority(build_uki(), encode_signature_list(SHA256, OWNER, _digest(build_uki()))), Signature)
    assert _authority(image, _cert("ca") + listed, listed) == "its digest is in dbx"
    assert "dbx holds" in str(_authority(image, _cert("leaf", "ca"), _cert("ca")))
    revoked = hashlib.sha256(signer("ca").certificate.tbs_certificate_bytes).digest() + bytes(16)
    chain = sign(build_uki(), pkcs7(_digest(build_uki()), signer("leaf", "ca"), (signer("leaf", "ca"), signer("ca"))))
    assert "dbx holds" in str(_authority(chain, _cert("ca"), encode_signature_list(X509_SHA256, OWNER, revoked)))


def test_images_that_are_refused() -> None:
    image = build_uki()
    assert _authority(image, _cert("ca")) == "it is not signed"
    assert "no certificate of db" in str(_authority(sign(image, signer("other")), _cert("ca")))
    stale = sign(build_uki(cmdline=b"other"), pkcs7(_digest(image), signer("leaf", "ca")))
    assert _authority(stale, _cert("ca")) == "it was changed after it was signed"
    short = sign(image, pkcs7(bytes(20), signer("leaf", "ca")))
    assert "another digest" in str(_authority(short, _cert("ca")))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x31\x00",
        der(0x30, b"\x06\x01\x00", der(0xA0, b"\x02\x01\x01")),
        pkcs7(bytes(32), signer("leaf", "ca"))[:200],
        b"\x30\x80" + bytes(40),
        b"\x30\x85\xff\xff\xff\xff\xff",
    ],
)
def test_damaged_signatures(data: bytes) -> None:
    image = sign(build_uki(), data)
    reader = BytesReader(image)
    with pytest.raises(FormatError) as caught:
        pe_signatures(reader, parse_pe(reader))
    assert caught.value.code == "PVB252"


# --- PCR 7


def _store_keys() -> Keys:
    return Keys(pk=_cert("pk"), kek=_cert("kek"), db=_cert("other") + _cert("ca"), dbx=b"")


def _variable(vendor: uuid.UUID, name: str, data: bytes) -> bytes:
    text = name.encode("utf-16-le")
    return hashlib.sha256(vendor.bytes_le + struct.pack("<QQ", len(name), len(data)) + text + data).digest()


def test_pcr_7_with_keys() -> None:
    artifacts = read_boot_artifacts(BytesReader(sign(build_uki(), signer("leaf", "ca"))))
    keys = _store_keys()
    (prediction,) = predict_tpm(artifacts, [TpmBoot(secure_boot="on", keys=keys)], banks=("sha256", "sha384"))
    value = bytes(32)
    for digest in (
        _variable(GLOBAL, "SecureBoot", b"\1"),
        _variable(GLOBAL, "PK", keys.pk),
        _variable(GLOBAL, "KEK", keys.kek),
        _variable(SECURITY, "db", keys.db),
        _variable(SECURITY, "dbx", b""),
        hashlib.sha256(bytes(4)).digest(),
        _variable(SECURITY, "db", OWNER.bytes_le + signer("ca").der),
    ):
        value = hashlib.sha256(value + digest).digest()
    row = next(row for row in prediction.measurements if (row.register, row.alg) == ("tpm.pcr07", "sha256"))
    assert row.value == value
    assert fold(prediction.log, 7, "sha384") != bytes(48)


def test_a_kernel_that_qemu_hands_over_passes_by_the_same_entry() -> None:
    """Firmware loads it by the same service as from a disk: what vouches for it comes before it and the call."""
    artifacts = read_boot_artifacts(BytesReader(sign(build_uki(), signer("leaf", "ca"))))
    boots = [TpmBoot(secure_boot="on", keys=_store_keys(), boot=boot) for boot in ("disk", "direct")]
    disk, direct = predict_tpm(artifacts, boots, banks=("sha256",))
    assert fold(direct.log, 7, "sha256") == fold(disk.log, 7, "sha256")
    order = [event.subject for event in direct.log if event.pcr in (4, 7)]
    assert order[5:] == ["separator", "entry of db for UKI", "UKI", "call of the boot option", "separator"]


def test_keys_with_secure_boot_off_and_rare_variables() -> None:
    artifacts = read_boot_artifacts(BytesReader(build_uki()))
    keys = Keys(pk=_cert("pk"), dbt=_cert("ca"), dbr=_cert("kek"))
    (prediction,) = predict_tpm(artifacts, [TpmBoot(secure_boot="off", keys=keys)], banks=("sha256",))
    subjects = [event.subject for event in prediction.log if event.pcr == 7]
    assert subjects == [f"variable {name}" for name in ("SecureBoot", "PK", "KEK", "db", "dbx", "dbt", "dbr")] + [
        "separator"
    ]


def test_a_uki_that_firmware_would_refuse_has_no_values() -> None:
    artifacts = read_boot_artifacts(BytesReader(build_uki()))
    (prediction,) = predict_tpm(artifacts, [TpmBoot(secure_boot="on", keys=_store_keys())], banks=("sha1",))
    rows = {int(row.register[-2:]): row for row in prediction.measurements}
    assert all(rows[pcr].status is Status.UNPREDICTABLE for pcr in (4, 7, 9, 11, 12, 13, 14))
    assert "not signed" in str(rows[4].reason)


def test_an_entry_is_measured_once_and_a_refused_addon_is_no_value() -> None:
    by = signer("leaf", "ca")
    addon = build_pe([Section(name=b".cmdline", data=b"more")])
    files = {
        "EFI/BOOT/BOOTX64.EFI": sign(build_uki(), by),
        "loader/addons/a.addon.efi": sign(addon, by),
    }
    boot = TpmBoot(secure_boot="on", keys=_store_keys())

    def rows(contents: dict[str, bytes]) -> tuple[dict[int, Status], int]:
        disk = build_disk([(ESP, build_fat(contents, bits=12, cluster=4))])
        (prediction,) = predict_tpm(read_boot_artifacts(BytesReader(disk)), [boot], banks=("sha256",))
        said = sum(event.kind == "EV_EFI_VARIABLE_AUTHORITY" for event in prediction.log)
        return {int(row.register[-2:]): row.status for row in prediction.measurements}, said

    found, said = rows(files)
    assert (found[7], found[4], said) == (Status.PREDICTED, Status.PREDICTED, 1)
    found, said = rows({**files, "loader/addons/a.addon.efi": addon})
    assert (found[7], found[4], found[11]) == (Status.UNPREDICTABLE, Status.UNPREDICTABLE, Status.PREDICTED)
