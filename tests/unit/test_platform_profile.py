"""Platform profiles: learnt from real logs, and with them another boot on the same machine is predicted whole."""

from __future__ import annotations

import hashlib
import json
import struct
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podvm_builder.errors import FormatError, InputError
from podvm_builder.formats.event_text import describe
from podvm_builder.formats.eventlog import EVENT_NAMES, EventLog, LogEvent, encode_event_log, parse_event_log
from podvm_builder.formats.eventlog_replay import replay
from podvm_builder.formats.platform_profile import encode_profile, parse_profile_document
from podvm_builder.formats.readers import BytesReader
from podvm_builder.measure.boot_log import variable_data
from podvm_builder.measure.learn import learn
from podvm_builder.measure.log_diff import CCEL, TPM, log_kind
from podvm_builder.measure.machine import measure_tpm
from podvm_builder.measure.platform import check_profile, on_platform, platform_gaps, profile_keys
from podvm_builder.measure.rtmr import fold as fold_rtmr
from podvm_builder.measure.secure_boot import Keys
from podvm_builder.measure.tpm import fold
from podvm_builder.model.event import Event
from podvm_builder.model.measurement import Measurement, Status
from podvm_builder.model.platform import Part, PlatformProfile, Slot
from tests.support.disk import ESP, build_disk, build_fat
from tests.support.own_boots import BANKS, BOOTS, predict
from tests.support.pe import build_uki

FACTS = {"log": "sha256:" + "0" * 64}
NUMBERS = {name: number for number, name in EVENT_NAMES.items()}
GLOBAL = uuid.UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")
CALLING = b"Calling EFI Application from Boot Option"
RETURNING = b"Returning from EFI Application from Boot Option"
EXITING, EXITED = b"Exit Boot Services Invocation", b"Exit Boot Services Returned with Success"
FAILED = b"Exit Boot Services Returned with Failure"

Step = tuple[int, str, bytes]


def _log(*steps: Step) -> EventLog:
    events = tuple(
        LogEvent(index=index, kind=NUMBERS[name], digests={"sha256": hashlib.sha256(data).digest()}, data=data)
        for index, name, data in steps
    )
    return EventLog(crypto_agile=True, algorithms=("sha256",), events=events)


def _variable(name: str, data: bytes) -> bytes:
    return variable_data(GLOBAL, name, data)


STATE: Step = (7, "EV_EFI_VARIABLE_DRIVER_CONFIG", _variable("SecureBoot", b"\0"))
END: Step = (7, "EV_SEPARATOR", bytes(4))
CALL: Step = (4, "EV_EFI_ACTION", CALLING)
GAP: Step = (4, "EV_SEPARATOR", bytes(4))
UKI: Step = (4, "EV_EFI_BOOT_SERVICES_APPLICATION", b"a UKI")
KERNEL: Step = (4, "EV_EFI_BOOT_SERVICES_APPLICATION", b"a kernel")
EXIT: Sequence[Step] = ((5, "EV_EFI_ACTION", EXITING), (5, "EV_EFI_ACTION", EXITED))


def _learn(*steps: Step) -> PlatformProfile:
    return _read(learn(_log(*steps), TPM, facts=FACTS))


def _read(profile: PlatformProfile) -> PlatformProfile:
    """Return a profile as its document gives it back."""
    return parse_profile_document(encode_profile(profile))


def _shape(profile: PlatformProfile) -> list[str]:
    return [entry.part.value if isinstance(entry, Slot) else entry.subject for entry in profile.entries]


@pytest.mark.parametrize(
    ("learnt_from", "predicted"), [(one[0], other) for one in BOOTS for other in BOOTS if one[2] == other[2]]
)
def test_another_boot_on_the_same_machine(own_vectors: Path, learnt_from: str, predicted: tuple[str, int, str]) -> None:
    name, version, secure_boot = predicted
    folder = own_vectors / "own-boots"
    profile = _read(learn(parse_event_log((folder / learnt_from / "eventlog.bin").read_bytes()), TPM, facts=FACTS))
    log = parse_event_log((folder / name / "eventlog.bin").read_bytes())
    found = on_platform(profile, predict(folder / name, version, secure_boot, log), BANKS)
    read = json.loads((folder / name / "pcrs.json").read_text(encoding="utf-8"))
    for bank in BANKS:
        for pcr in (0, 1, 2, 3, 4, 5, 6, 7, 9, 11, 12, 13, 14):
            # systemd-stub 262 measures SMBIOS structures into PCR 1, and the profile has what the firmware measured
            if pcr != 1 or version < 261:
                assert fold(found, pcr, bank).hex() == read[bank][str(pcr)].lower(), (bank, pcr)


def _image_events(log: EventLog, profile: PlatformProfile) -> Iterator[Event]:
    """Take the image's events out of a log: what is left when the profile's are struck out, in order."""
    firmware = [(event.kind, event.digests) for event in profile.events]
    for event in log.events:
        if event.name == "EV_NO_ACTION":
            continue
        if firmware and (event.name, event.digests) == firmware[0]:
            firmware.pop(0)
            if event.data == EXITED:
                yield _event(event, 5)
            continue
        authority = event.name == "EV_EFI_VARIABLE_AUTHORITY"
        yield _event(event, {1: 7 if authority else 1, 2: 4, 3: 9, 4: 16}[event.index])


def _event(event: LogEvent, pcr: int) -> Event:
    of_firmware = event.name in ("EV_EFI_GPT_EVENT", "EV_EFI_BOOT_SERVICES_APPLICATION") or event.data == EXITED
    return Event(
        pcr=pcr,
        kind=event.name,
        digests=event.digests,
        subject=describe(event),
        source="firmware" if of_firmware else "the image",
        data=event.data,
    )


@pytest.mark.parametrize("name", ["ccel-cos-113.bin", "ccel-ovmf-direct-kernel.bin", "ccel-ubuntu-shim-grub.bin"])
def test_trust_domains_of_three_clouds(vectors: Path, name: str) -> None:
    """The image's events, put back into the places that were learnt, give the registers of the quote."""
    log = parse_event_log((vectors / "tdx" / name).read_bytes())
    profile = _read(learn(log, log_kind(log), facts=FACTS))
    assert (profile.kind, profile.gaps) == (CCEL, {})
    found = on_platform(profile, tuple(_image_events(log, profile)), ("sha384",))
    values = replay(log, "sha384")
    assert [fold_rtmr(found, index) for index in range(3)] == [values[index + 1] for index in range(3)]


def test_settings_of_a_trust_domain_do_not_follow_the_image(vectors: Path) -> None:
    log = parse_event_log((vectors / "tdx" / "ccel-cos-113.bin").read_bytes())
    profile = learn(log, CCEL, facts=FACTS)
    authorities = [event for event in log.events if event.name == "EV_EFI_VARIABLE_AUTHORITY"]
    assert authorities
    said = {event.digests["sha384"] for event in profile.events}
    assert not said & {event.digests["sha384"] for event in authorities}
    assert (profile.boot, profile.secure_boot) == ("disk", "off")
    assert profile_keys(profile) is not None


def test_firmware_that_measures_programs_elsewhere(vectors: Path) -> None:
    """Google's firmware measures program and partition table into PCR 2 of a trust domain's TPM."""
    log = parse_event_log((vectors / "tpm" / "gcp-uki-dstack.bin").read_bytes())
    profile = _read(learn(log, TPM, facts=FACTS))
    assert (profile.register_of(Part.PROGRAM), profile.register_of(Part.TABLE)) == (2, 2)
    uki = build_uki()
    disk = BytesReader(build_disk([(ESP, build_fat({"EFI/BOOT/BOOTX64.EFI": uki}, bits=12, cluster=4))]))
    found = measure_tpm(disk, platform=profile, banks=("sha256",))
    rows = {row.register: row for row in found.measurements}
    values = replay(log, "sha256")
    for pcr in (0, 1, 3, 6, 7):
        assert rows[f"tpm.pcr{pcr:02d}"].value == values[pcr]
        assert rows[f"tpm.pcr{pcr:02d}"].status is Status.PLATFORM
    programs = rows["tpm.pcr02"]
    assert programs.status is Status.PREDICTED
    assert {basis.kind for basis in programs.basis} == {"image", "platform-profile"}
    assert rows["tpm.pcr04"].status is Status.PLATFORM
    # of PCR 4 the image decides nothing there
    assert found.identifies_image.by == ("tpm.pcr02", "tpm.pcr11", "tpm.pcr12")
    kinds = [event.kind for event in found.logs["disk"] if event.pcr == 2]
    assert kinds[:3] == ["EV_SEPARATOR", "EV_EFI_GPT_EVENT", "EV_EFI_BOOT_SERVICES_APPLICATION"]


def test_habits_are_kept() -> None:
    """A first boot option that fails, and an exit of boot services that the kernel has to repeat."""
    profile = _learn(
        STATE,
        END,
        CALL,
        GAP,
        (4, "EV_EFI_ACTION", RETURNING),
        CALL,
        UKI,
        KERNEL,
        (11, "EV_IPL", b"section"),
        (5, "EV_EFI_ACTION", EXITING),
        (5, "EV_EFI_ACTION", FAILED),
        *EXIT,
    )
    assert profile.habits == {"boot_options": 2, "failed_exits": 1}
    assert not {4, 5} & profile.gaps.keys()
    call, returning = CALLING.decode(), RETURNING.decode()
    assert _shape(profile)[2:] == [
        *(call, "separator", returning, call, "program", "rest"),
        *(EXITING.decode(), FAILED.decode(), EXITING.decode(), EXITED.decode()),
    ]


def test_a_program_that_firmware_starts_twice_is_measured_twice() -> None:
    profile = _learn(STATE, END, UKI, CALL, GAP, (4, "EV_EFI_ACTION", RETURNING), UKI, CALL, KERNEL, *EXIT)
    assert profile.boot == "direct"
    assert _shape(profile).count("program") == 2
    assert 4 not in profile.gaps


@pytest.mark.parametrize(
    ("steps", "pcr", "reason"),
    [
        ((STATE, END, CALL, GAP, *EXIT), 4, "no program"),
        ((STATE, END, CALL, UKI), 5, "before the firmware left"),
        ((STATE, END, CALL, UKI, (4, "EV_EFI_ACTION", RETURNING), CALL, KERNEL, *EXIT), 4, "returned"),
        ((STATE, END, CALL, UKI, KERNEL, GAP, KERNEL, *EXIT), 4, "among those of the image"),
        ((STATE, END, CALL, UKI, (6, "EV_COMPACT_HASH", b"vm"), *EXIT), 6, "no event"),
        ((STATE, END, (6, "EV_EFI_PLATFORM_FIRMWARE_BLOB", b"vm"), CALL, UKI, *EXIT), 6, "identity"),
        ((STATE, END, CALL, UKI, (2, "EV_EFI_BOOT_SERVICES_DRIVER", b"d"), *EXIT), 2, "drivers"),
        ((STATE, END, CALL, (5, "EV_EFI_GPT_EVENT2", b"t"), UKI, *EXIT), 5, "EV_EFI_GPT_EVENT2"),
        ((STATE, END, CALL, UKI, *EXIT), 0, "no event of it"),
    ],
)
def test_what_a_log_does_not_teach_has_a_reason(steps: Sequence[Step], pcr: int, reason: str) -> None:
    assert reason in platform_gaps(_learn(*steps), None)[pcr]


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ((END, CALL, UKI, *EXIT), "no variable SecureBoot"),
        (((7, "EV_EFI_VARIABLE_DRIVER_CONFIG", b"short"), END), "damaged variable"),
        ((STATE, CALL, UKI, *EXIT), "no separator"),
    ],
)
def test_logs_that_teach_nothing(steps: Sequence[Step], message: str) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        _learn(*steps)
    assert caught.value.code == "PVB263"


def test_a_log_with_a_second_separator_is_refused() -> None:
    with pytest.raises(FormatError, match="second separator"):
        _learn(STATE, END, CALL, GAP, GAP, UKI, *EXIT)
    settings = [(1, name, data) for _, name, data in (STATE, END, END)]
    rest = [(2, name, data) for _, name, data in (CALL, UKI, *EXIT)]
    # firmware before edk2-stable202411 has two in RTMR 0, none has three, and none has two in RTMR 1
    assert learn(_log(*settings, *rest), CCEL, facts=FACTS).kind == CCEL
    for steps in ((settings[0], (2, *END[1:]), (2, *END[1:]), *rest), (*settings, (2, *END[1:]), *rest)):
        with pytest.raises(FormatError, match="second separator"):
            learn(_log(*steps), CCEL, facts=FACTS)


def test_a_forged_digest_is_refused() -> None:
    log = _log(STATE, END, CALL, UKI, *EXIT)
    events = (replace(log.events[0], digests={"sha256": bytes(32)}), *log.events[1:])
    with pytest.raises(FormatError, match="not that of its data"):
        learn(replace(log, events=events), TPM, facts=FACTS)


def test_what_let_a_program_pass_is_said_once_a_boot() -> None:
    entry = b"owner and certificate"
    driver: Step = (7, "EV_EFI_VARIABLE_AUTHORITY", _variable("db", entry))
    profile = _learn(STATE, driver, END, CALL, GAP, UKI, *EXIT)
    digest = {"sha256": hashlib.sha256(driver[2]).digest()}
    again = Event(pcr=7, kind="EV_EFI_VARIABLE_AUTHORITY", digests=digest, subject="db", source="firmware")
    found = on_platform(profile, (again,), ("sha256",))
    assert [event.digests for event in found].count(digest) == 1
    other = replace(again, digests={"sha256": bytes(32)})
    assert other in on_platform(profile, (other,), ("sha256",))


def _disk_rows(profile: PlatformProfile, **options: Any) -> dict[str, Measurement]:
    uki = build_uki(stub=options.pop("stub", b"257.13"))
    disk = BytesReader(build_disk([(ESP, build_fat({"EFI/BOOT/BOOTX64.EFI": uki}, bits=12, cluster=4))]))
    found = measure_tpm(disk, platform=profile, banks=options.pop("banks", ("sha256",)), **options)
    return {f"{row.register}:{row.alg}": row for row in found.measurements}


def test_a_bank_that_the_log_lacks_has_no_platform_values() -> None:
    rows = _disk_rows(_learn(STATE, END, CALL, GAP, UKI, *EXIT), banks=("sha256", "sha384"))
    assert rows["tpm.pcr04:sha256"].value is not None
    assert "no sha384 bank" in str(rows["tpm.pcr04:sha384"].reason)
    assert rows["tpm.pcr11:sha384"].value is not None
    with pytest.raises(InputError, match="none of those") as caught:
        _disk_rows(_learn(STATE, END, CALL, GAP, UKI, *EXIT), banks=("sha1",))
    assert caught.value.code == "PVB262"


def test_a_stub_that_measures_smbios_leaves_pcr_1_to_the_machine() -> None:
    one: Step = (1, "EV_SEPARATOR", bytes(4))
    profile = _learn(STATE, END, CALL, GAP, one, UKI, *EXIT)
    assert _disk_rows(profile)["tpm.pcr01:sha256"].status is Status.PLATFORM
    assert _disk_rows(profile, stub=b"262.1")["tpm.pcr01:sha256"].status is Status.PER_VM


def _option(signature: bytes, start: int) -> bytes:
    node = struct.pack("<BBHIQQ16sBB", 4, 1, 42, 1, start, 100, signature, 2, 2)
    return struct.pack("<IH", 1, len(node) + 4) + "disk\0".encode("utf-16-le") + node + b"\x7f\xff\4\0"


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        (_option(b"\5" * 16, 2048), "names a partition"),
        (b"\1\0", "cannot be read"),
        (struct.pack("<IH", 1, 4) + b"no end", "cannot be read"),
    ],
)
def test_a_boot_entry_for_another_disk_leaves_pcr_1_without_value(option: bytes, reason: str) -> None:
    entry: Step = (1, "EV_EFI_VARIABLE_BOOT", _variable("Boot0003", option))
    row = _disk_rows(_learn(STATE, END, entry, CALL, GAP, UKI, *EXIT))["tpm.pcr01:sha256"]
    assert row.value is None
    assert reason in str(row.reason)


def test_a_profile_of_another_machine_is_refused() -> None:
    profile = _read(
        replace(_learn(STATE, END, CALL, GAP, UKI, *EXIT), facts={**FACTS, "firmware": "sha256:" + "1" * 64})
    )
    check_profile(profile, kind=TPM, boot="disk", secure_boot="off", keys=Keys(), firmware="sha256:" + "1" * 64)
    other: list[dict[str, Any]] = [
        {"boot": "direct"},
        {"secure_boot": "absent"},
        {"firmware": "sha256:" + "2" * 64},
        {"keys": Keys(pk=bytes(16) + struct.pack("<III", 28 + 17, 0, 17) + bytes(17))},
    ]
    for wrong in other:
        with pytest.raises(InputError) as caught:
            check_profile(profile, kind=TPM, **wrong)
        assert caught.value.code == "PVB262", wrong
    with pytest.raises(InputError, match="a log of kind `tpm`"):
        check_profile(profile, kind=CCEL)


def test_the_locality_of_the_start_is_kept() -> None:
    start = b"StartupLocality\0\3"
    version: Step = (0, "EV_S_CRTM_VERSION", b"v\0")
    log = _log((0, "EV_NO_ACTION", start), version, STATE, END, CALL, GAP, UKI, *EXIT)
    profile = _read(learn(log, TPM, facts=FACTS))
    assert _disk_rows(profile)["tpm.pcr00:sha256"].value == replay(log, "sha256")[0]
    assert profile.locality == 3


@given(st.data())
def test_a_damaged_document_is_refused(data: st.DataObject) -> None:
    document = json.loads(encode_profile(_learn(STATE, END, CALL, GAP, UKI, *EXIT)))
    key = data.draw(st.sampled_from(sorted(document)))
    value = data.draw(
        st.one_of(st.none(), st.text(max_size=4), st.integers(), st.lists(st.integers(), max_size=2), st.just({"x": 1}))
    )
    document[key] = value
    try:
        parse_profile_document(json.dumps(document).encode())
    except FormatError as error:
        assert error.code == "PVB264"
    else:
        assert key in ("locality", "habits", "gaps", "events", "facts")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"schema": "podvm-platform/2"}', b"[" * 100_000])
def test_what_is_no_profile_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError) as caught:
        parse_profile_document(data)
    assert caught.value.code == "PVB264"


def test_the_document_keeps_what_the_log_taught() -> None:
    profile = learn(_log(STATE, END, CALL, GAP, UKI, *EXIT), TPM, facts=FACTS)
    again = _read(profile)
    assert replace(again, digest="") == profile
    assert again.digest == "sha256:" + hashlib.sha256(encode_profile(profile)).hexdigest()
    assert encode_event_log(_log(STATE))  # what the tests above make is a log like any other
