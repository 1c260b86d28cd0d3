"""Forms that hold registers: the values reached are those of the measurements, and no others, in every one of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podvm_builder.errors import Finding, FormatError, InputError, Lacking
from podvm_builder.formats.corim import CorimMeasurement, Environment, decode_corim, encode_corim
from podvm_builder.model.event import Event
from podvm_builder.model.measurement import Identification, Measurement, MeasurementSet, Status
from podvm_builder.refvalues import FORMATS, ExportOptions, export, read_any
from podvm_builder.refvalues.formats import read_back
from podvm_builder.refvalues.keys import read_verifying_key
from podvm_builder.refvalues.statement import decode_statement, encode_statement
from podvm_builder.refvalues.union import union
from tests.support.keys import KINDS, private_pem, public_pem
from tests.support.measurement_sets import (
    FIRMWARE,
    IMAGE,
    measurement_set,
    predicted,
    request,
    snp_set,
    tdx_set,
    unknown,
)

REGISTER_FORMS = [name for name, one in FORMATS.items() if not one.asks_policy]
SIGNED = [name for name, one in FORMATS.items() if one.check is not None]
BANKS = {"sha1": 20, "sha256": 32, "sha384": 48}
OPTIONS = ExportOptions(key=private_pem("p384"), product="Milan")
UNSIGNED = ExportOptions(product="Milan")

Holds = Callable[[Measurement, str], bool]
# what each form has a place for, said once more and in other words than the forms say it
HOLDS: Mapping[str, Holds] = {
    "corim": lambda row, _: row.alg in {"sha256", "sha384", "sha512"},
    "corim-amd": lambda row, _: row.register == "snp.launch_digest",
    "corim-intel": lambda row, _: row.register.startswith("tdx."),
    "in-toto": lambda row, _: True,
    "id-block": lambda row, _: row.register == "snp.launch_digest",
    "cca-rv-store": lambda row, _: row.register.startswith("cca."),
    "pcrlock": lambda row, _: row.register.startswith("tpm."),
    "caa-json": lambda row, _: row.register.startswith("tpm.") and row.alg == "sha256",
    "caa-annotations": lambda row, _: row.register.startswith("tpm.") and row.alg == "sha256",
    "kms-condition": lambda row, _: row.register in {"tpm.pcr04", "tpm.pcr07", "tpm.pcr12"} and row.alg == "sha384",
    "maa": lambda row, _: row.register[-2:] in {"04", "07", "09", "11", "12"} and row.alg == "sha256",
    "ita": lambda row, evidence: (
        row.register.startswith("tdx.")
        if evidence == "tdx"
        else evidence == "az-tdx-vtpm"
        and (
            row.register == "tdx.mrtd" or (row.register[-2:] in {"04", "07", "09", "11", "12"} and row.alg == "sha256")
        )
    ),
}


def expected(form: str, measurements: MeasurementSet) -> dict[str, list[str]]:
    """Return what a form must hold, straight from the rows."""
    by = measurements.identifies_image.by if measurements.identifies_image.value else ()
    found: dict[str, list[str]] = {}
    for row in measurements.measurements:
        if row.value is None or not HOLDS[form](row, measurements.evidence):
            continue
        if row.register in by and not any(basis.kind == "image" for basis in row.basis):
            continue
        values = found.setdefault(f"{row.register}:{row.alg}", [])
        if row.value.hex() not in values:
            values.append(row.value.hex())
    return found


def logged_set(evidence: str = "az-tdx-vtpm") -> MeasurementSet:
    """Return a set whose PCRs are the folds of a log, with registers of every status."""
    log = tuple(
        Event(
            pcr=pcr,
            kind="EV_IPL",
            digests={alg: hashlib.new(alg, f"{pcr}{index}".encode()).digest() for alg in BANKS},
            subject="something",
            source="a test",
        )
        for index, pcr in enumerate([0, 4, 4, 7, 9, 11, 11, 11, 12, 14])
    )
    rows = []
    for pcr in (4, 7, 9, 11, 12):
        for alg, size in BANKS.items():
            value = bytes(size)
            for event in log:
                if event.pcr == pcr:
                    value = hashlib.new(alg, value + event.digests[alg]).digest()
            rows.append(
                Measurement(
                    register=f"tpm.pcr{pcr:02}",
                    alg=alg,
                    status=Status.PLATFORM if pcr == 7 else Status.PREDICTED,
                    value=value,
                    variant={"boot": "disk"},
                    basis=(IMAGE,),
                    origin=("log", "disk"),
                )
            )
    rows += [
        unknown("tpm.pcr00", Status.PLATFORM, "the cloud's", alg="sha256"),
        unknown("tpm.pcr08", Status.PER_VM, "init data", alg="sha256"),
        unknown("tpm.pcr14", Status.UNPREDICTABLE, "a key", alg="sha384"),
        predicted("tdx.mrtd", b"\x01" * 48, FIRMWARE),
    ]
    found = measurement_set(evidence, *rows, by=("tpm.pcr04", "tpm.pcr11", "tpm.pcr12"))
    return replace(found, logs={"disk": log})


def realm_set() -> MeasurementSet:
    """Return made-up measurements of a realm: no target measures one yet."""
    rows = [predicted("cca.rim", bytes([one]) * 64, alg="sha512", vcpus=one) for one in (1, 2)]
    rows += [predicted(f"cca.rem{index}", bytes([8 + index]) * 64, alg="sha512") for index in range(4)]
    return measurement_set("cca", *rows, by=("cca.rim",))


CASES = [
    *((form, snp_set()) for form in ("corim", "corim-amd", "in-toto", "id-block")),
    *((form, tdx_set()) for form in ("corim", "corim-intel", "in-toto", "ita")),
    *(
        (form, logged_set())
        for form in (
            "corim",
            "in-toto",
            "pcrlock",
            "caa-json",
            "caa-annotations",
            "kms-condition",
            "maa",
            "ita",
        )
    ),
    *((form, realm_set()) for form in ("corim", "in-toto", "cca-rv-store")),
]
IDS = [f"{form}-{measurements.evidence}" for form, measurements in CASES]


def heeded(form: str, options: ExportOptions) -> ExportOptions:
    return options if "key" in FORMATS[form].heeds else replace(options, key=None)


def test_every_form_is_in_the_matrix() -> None:
    assert {form for form, _ in CASES} == set(REGISTER_FORMS) == set(HOLDS)


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
@pytest.mark.parametrize(("form", "measurements"), CASES, ids=IDS)
def test_the_values_reached_are_exactly_those_of_the_measurements(
    form: str, measurements: MeasurementSet, *, signed: bool
) -> None:
    # an ID block is always signed
    options = OPTIONS if signed or form == "id-block" else UNSIGNED
    document = export(request(measurements, options=heeded(form, options)), form)
    assert isinstance(document, bytes)
    assert read_back(FORMATS[form], document) == expected(form, measurements)
    assert read_any(document) == (form, expected(form, measurements))
    assert export(request(measurements, options=heeded(form, options)), form) == document


statuses = st.sampled_from(list(Status))
registers = st.sampled_from(
    ["snp.launch_digest", "tdx.mrtd", "tdx.rtmr1", "tdx.rtmr2", *(f"tpm.pcr{pcr:02}" for pcr in (0, 4, 7, 9, 11, 12))]
)


@st.composite
def rows(draw: st.DrawFn) -> Measurement:
    register = draw(registers)
    alg = draw(st.sampled_from(list(BANKS))) if register.startswith("tpm.") else "sha384"
    status = draw(statuses)
    has_value = status is Status.PREDICTED or (status is Status.PLATFORM and draw(st.booleans()))
    return Measurement(
        register=register,
        alg=alg,
        status=status,
        value=draw(st.binary(min_size=BANKS[alg], max_size=BANKS[alg])) if has_value else None,
        reason=None if has_value else "a reason",
        variant={"vcpus": draw(st.integers(1, 3))},
        basis=draw(st.sampled_from([(IMAGE,), (FIRMWARE,), (FIRMWARE, IMAGE)])),
    )


sets = st.builds(
    lambda found, by, evidence: replace(
        measurement_set(evidence, *found),
        identifies_image=Identification(value=bool(by), by=tuple(by), reason="a reason"),
    ),
    st.lists(rows(), max_size=8),
    st.lists(registers, max_size=3, unique=True),
    st.sampled_from(["snp", "tdx", "az-tdx-vtpm"]),
)


@pytest.mark.parametrize("form", sorted(set(REGISTER_FORMS) - {"pcrlock", "cca-rv-store", "id-block"}))
@given(measurements=sets)
def test_whatever_was_measured_only_justified_values_of_the_image_get_out(
    form: str, measurements: MeasurementSet
) -> None:
    try:
        document = export(request(measurements, options=UNSIGNED), form)
    except Finding as error:
        by = {one.partition(":")[0] for one in expected(form, measurements)} & set(measurements.identifies_image.by)
        assert error.code == "PVB602" if expected(form, measurements) else "PVB601"
        assert not by
        return
    except InputError as error:
        assert error.code in {"PVB604", "PVB662"}
        return
    assert isinstance(document, bytes)
    assert read_back(FORMATS[form], document) == expected(form, measurements)


def test_a_statement_is_read_back_as_it_was() -> None:
    statement = export(request(logged_set()), "in-toto")
    assert isinstance(statement, bytes)
    predicate = decode_statement(statement)
    assert encode_statement(predicate) == statement
    assert [replace(row, origin=None) for row in logged_set().measurements if row.value is not None] == list(
        predicate.rows
    )
    top = json.loads(statement)
    assert top["_type"] == "https://in-toto.io/Statement/v1"
    assert top["subject"] == [
        {"name": "image", "digest": {"sha256": "11" * 32}},
        {"name": "firmware", "digest": {"sha256": "22" * 32}},
    ]


@pytest.mark.parametrize("form", REGISTER_FORMS)
def test_what_any_image_reaches_needs_leave(form: str) -> None:
    register, alg = {
        "kms-condition": ("tpm.pcr04", "sha384"),
        "maa": ("tpm.pcr04", "sha256"),
        "caa-json": ("tpm.pcr04", "sha256"),
        "caa-annotations": ("tpm.pcr04", "sha256"),
        "pcrlock": ("tpm.pcr04", "sha256"),
        "ita": ("tdx.mrtd", "sha384"),
        "corim-intel": ("tdx.mrtd", "sha384"),
        "cca-rv-store": ("cca.rim", "sha512"),
    }.get(form, ("snp.launch_digest", "sha384"))
    digest = b"\x05" * {"sha256": 32, "sha384": 48, "sha512": 64}[alg]
    unbound = measurement_set("tdx", predicted(register, digest, FIRMWARE, alg=alg), reason="firmware only")
    with pytest.raises(Finding) as caught:
        export(request(unbound, options=heeded(form, OPTIONS)), form)
    assert caught.value.code == "PVB602"
    assert "firmware only" in str(caught.value.hint)
    if form in {"pcrlock", "cca-rv-store"}:
        return  # these hold more than one register
    allowed = export(request(unbound, options=heeded(form, OPTIONS), allow=frozenset({"unbound-image"})), form)
    assert read_back(FORMATS[form], allowed) == {f"{register}:{alg}": [digest.hex()]}


def test_a_statement_says_what_identifies_the_image_by_the_values_in_it() -> None:
    def identified_by(measurements: MeasurementSet, *allow: str) -> tuple[str, ...]:
        statement = export(request(measurements, allow=frozenset(allow)), "in-toto")
        assert isinstance(statement, bytes)
        return decode_statement(statement).identified_by

    assert identified_by(snp_set()) == ("snp.launch_digest",)
    assert identified_by(snp_set(), "unbound-image") == ()
    assert identified_by(replace(tdx_set(), identifies_image=Identification(True, ("tdx.rtmr1", "tpm.pcr04"), ""))) == (
        "tdx.rtmr1",
    )


@pytest.mark.parametrize("form", REGISTER_FORMS)
def test_nothing_to_export_is_said_with_a_reason(form: str) -> None:
    nothing = measurement_set("tdx", unknown("tpm.pcr04", Status.NOT_COMPUTED, "no image", alg="sha256"))
    with pytest.raises(Finding) as caught:
        export(request(nothing, options=heeded(form, OPTIONS)), form)
    assert caught.value.code == "PVB601"


@pytest.mark.parametrize("form", REGISTER_FORMS)
def test_flagged_images_are_refused_by_every_form(form: str) -> None:
    with pytest.raises(Finding) as caught:
        export(request(snp_set(flags=("selftest",)), options=OPTIONS), form)
    assert caught.value.code == "PVB608"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", SIGNED)
def test_signatures_are_of_the_key_and_of_the_content(form: str, kind: str) -> None:
    options = replace(OPTIONS, key=private_pem(kind))
    signed = tdx_set() if form == "corim-intel" else snp_set()
    document = export(request(signed, options=options), form)
    assert isinstance(document, bytes)
    check = FORMATS[form].check
    assert check is not None
    assert check(document, read_verifying_key(public_pem(kind)))
    assert not check(document, read_verifying_key(public_pem(kind, 1)))
    for other in set(KINDS) - {kind}:
        assert not check(document, read_verifying_key(public_pem(other)))
    assert private_pem(kind).splitlines()[1] not in document
    unsigned = export(request(signed, options=UNSIGNED), form)
    assert isinstance(unsigned, bytes)
    with pytest.raises(FormatError):
        check(unsigned, read_verifying_key(public_pem(kind)))


def test_a_changed_payload_is_not_signed() -> None:
    import base64

    from podvm_builder.formats.cose import decode_sign1, encode_sign1

    key = read_verifying_key(public_pem("ed25519"))
    options = replace(OPTIONS, key=private_pem("ed25519"))
    envelope = json.loads(export(request(snp_set(), options=options), "in-toto"))  # type: ignore[arg-type]
    payload = base64.b64decode(envelope["payload"]).replace(b"0a0a", b"0a0b")
    envelope["payload"] = base64.b64encode(payload).decode()
    check = FORMATS["in-toto"].check
    assert check is not None
    assert not check(json.dumps(envelope).encode(), key)
    message = decode_sign1(export(request(snp_set(), options=options), "corim"))  # type: ignore[arg-type]
    changed = encode_sign1(replace(message, payload=message.payload.replace(b"\x0a\x0a", b"\x0a\x0b")))
    check = FORMATS["corim"].check
    assert check is not None
    assert not check(changed, key)


@pytest.mark.parametrize("key", [b"", b"x", private_pem("p521"), public_pem("p256")])
@pytest.mark.parametrize("form", ["in-toto", "corim"])
def test_a_key_that_cannot_sign_is_refused(form: str, key: bytes) -> None:
    with pytest.raises(InputError) as caught:
        export(request(snp_set(), options=replace(OPTIONS, key=key)), form)
    assert caught.value.code == "PVB665"


def test_a_request_does_not_show_its_keys() -> None:
    assert "PRIVATE" not in repr(request(snp_set(), options=replace(OPTIONS, author_key=private_pem("p384", 1))))


def test_an_id_block_is_checked_with_its_author() -> None:
    options = replace(OPTIONS, author_key=private_pem("p384", 1))
    facts = {"snp_guest_policy": (0x3_001F,)}
    document = export(request(snp_set(), options=options, facts=facts), "id-block")
    assert isinstance(document, bytes)
    top = json.loads(document)
    assert len(top["id_blocks"]) == 2
    assert top["id_blocks"][1]["variants"] == [{"boot": "direct", "vcpus": 2}]
    for field in ("launch_digest", "id_key_digest", "author_key_digest", "id_block", "id_auth"):
        text = top["id_blocks"][0][field]
        changed = "f" + text[1:] if text[0] != "f" else "0" + text[1:]
        wrong = {"id_blocks": [{**top["id_blocks"][0], field: changed}]}
        with pytest.raises(FormatError) as caught:
            read_back(FORMATS["id-block"], json.dumps(wrong).encode())
        assert caught.value.code == "PVB607"
    for key, policies, code in (
        (None, (), "PVB660"),
        (private_pem("p384"), (1, 2), "PVB660"),
        (private_pem("p256"), (), "PVB239"),
    ):
        with pytest.raises(InputError) as refused:
            export(
                request(snp_set(), options=replace(OPTIONS, key=key), facts={"snp_guest_policy": policies}), "id-block"
            )
        assert refused.value.code == code


def test_a_form_for_one_value_refuses_several_unless_the_boot_is_named() -> None:
    rows = [
        predicted("tpm.pcr04", b"\x04" * 32, alg="sha256", boot="disk"),
        predicted("tpm.pcr04", b"\x05" * 32, alg="sha256", boot="direct"),
    ]
    both = measurement_set("tpm", *rows, by=("tpm.pcr04",))
    with pytest.raises(InputError) as caught:
        export(request(both), "caa-json")
    assert caught.value.code == "PVB662"
    one = export(request(both, options=ExportOptions(boot="direct")), "caa-json")
    assert read_back(FORMATS["caa-json"], one) == {"tpm.pcr04:sha256": ["05" * 32]}
    policy = export(request(both), "maa")
    assert isinstance(policy, bytes)
    assert policy.count(b"=> add(") == 2


def test_the_incumbents_file_is_as_its_script_writes_it() -> None:
    document = export(request(logged_set()), "caa-json")
    assert isinstance(document, bytes)
    bank = json.loads(document)["measurements"]["sha256"]
    assert list(bank) == ["pcr04", "pcr07", "pcr09", "pcr11", "pcr12"]
    assert all(text.startswith("0x") and len(text) == 66 for text in bank.values())
    annotations = json.loads(export(request(logged_set()), "caa-annotations"))["$manifest"]  # type: ignore[arg-type]
    prefix = "io.github.confidential-containers.measurements."
    assert annotations.pop(f"{prefix}algorithm") == "sha256"
    assert annotations == {f"{prefix}{pcr}": text for pcr, text in bank.items()}


def test_a_union_of_images_has_no_log_for_pcrlock() -> None:
    with pytest.raises(InputError) as caught:
        export(request(union([logged_set(), logged_set()])), "pcrlock")
    assert caught.value.code == "PVB662"


def test_the_names_of_a_corim_are_those_of_trustees_extractor() -> None:
    cbor2 = pytest.importorskip("cbor2")
    document = export(request(snp_set(), options=UNSIGNED), "corim")
    manifest = cbor2.loads(document)
    assert manifest.tag == 501
    comid = cbor2.loads(manifest.value[1][0].value)
    names = {}
    for environment, measurements in comid[4][0]:
        for one in measurements:
            parts = [environment[0][1], environment[0][2], one[0], "digests"]
            names["/".join(parts)] = [digest.hex() for _, digest in one[1][2]]
    assert names["podvm-build/snp/snp.launch_digest.sha384/digests"] == ["0a" * 48, "0b" * 48]


def test_a_provider_key_has_its_own_class_in_amds_profile() -> None:
    for target, expected_class in (
        ("debian-13/snp/aws:x86_64+debug", "89a7a1f0-e704-4faa-acbd-81c86df8a961"),
        ("debian-13/snp/libvirt", "d05e6d1b-9f46-4ae2-a610-ce3e6ee7e153"),
    ):
        document = export(request(replace(snp_set(), target=target), options=UNSIGNED), "corim-amd")
        assert isinstance(document, bytes)
        (first, second) = decode_corim(document).triples
        assert str(first.environment.class_id) == expected_class
        assert first.environment.model == "Milan"
        assert first.measurements != second.measurements
    with pytest.raises(InputError) as caught:
        export(request(snp_set()), "corim-amd")
    assert caught.value.code == "PVB660"


def test_without_cbor2_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "cbor2", None)
    with pytest.raises(Lacking) as caught:
        export(request(snp_set(), options=UNSIGNED), "corim")
    assert caught.value.code == "PVB658"


def test_a_realm_whose_registers_are_not_all_known_is_refused() -> None:
    some = measurement_set("cca", predicted("cca.rim", b"\x01" * 32, alg="sha256"), by=("cca.rim",))
    with pytest.raises(Finding) as caught:
        export(request(some), "cca-rv-store")
    assert caught.value.code == "PVB601"


def claims(values: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return what Trust Authority sees of a machine with the first value of each register."""
    tdx: dict[str, Any] = {"tdx_is_debuggable": False}
    pcrs = []
    for name, digests in values.items():
        register, _, alg = name.partition(":")
        if register.startswith("tdx."):
            tdx[register.replace(".", "_")] = digests[0]
        else:
            pcrs.append({"alg": alg.upper().replace("SHA", "SHA-"), "index": int(register[-2:]), "digest": digests[0]})
    return {"tdx": tdx, "tpm": {"pcrs": pcrs}}


def matches(policy: bytes, input_: Any) -> bool:
    from regopy import Interpreter

    engine = Interpreter()
    engine.add_module("policy", "package ita\n" + policy.decode())
    engine.set_input(input_)
    answer = json.loads(str(engine.query("data.ita")))["expressions"][0]["match"]
    assert isinstance(answer, bool)
    return answer


@pytest.mark.parametrize("measurements", [tdx_set(), union([tdx_set(), replace(tdx_set())]), logged_set()])
def test_a_trust_authority_policy_matches_the_image_and_no_other(measurements: MeasurementSet) -> None:
    pytest.importorskip("regopy")
    policy = export(request(measurements), "ita")
    assert isinstance(policy, bytes)
    values = read_back(FORMATS["ita"], policy)
    good = claims(values)
    assert matches(policy, good)
    for name in values:
        other = {**values, name: ["f" + values[name][0][1:]]}
        assert not matches(policy, claims(other)), name
        assert not matches(policy, claims({key: value for key, value in values.items() if key != name})), name
    assert not matches(policy, {**good, "tdx": {**good["tdx"], "tdx_is_debuggable": True}})


def test_trust_authority_sees_no_launch_digest() -> None:
    with pytest.raises(InputError) as caught:
        export(request(snp_set()), "ita")
    assert caught.value.code == "PVB604"


def test_intels_profile_is_its_identifier_and_the_registers_of_the_core_draft() -> None:
    document = export(request(tdx_set()), "corim-intel")
    assert isinstance(document, bytes)
    corim = decode_corim(document)
    # X.690 §8.19 of 2.16.840.1.113741.1.16.1, in tag 111 of RFC 9090
    assert bytes.fromhex("d86f 4a 6086480186f84d011001") in document
    assert str(corim.profile) == "2.16.840.1.113741.1.16.1"
    (triple,) = corim.triples
    assert triple.environment == Environment(vendor="Intel Corporation", model="TDX TD")
    (measurement,) = triple.measurements
    assert measurement == CorimMeasurement(
        registers=(
            ("mrtd", (("sha384", b"\x01" * 48),)),
            ("rtmr1", (("sha384", b"\x02" * 48),)),
            ("rtmr2", (("sha384", b"\x03" * 48),)),
        )
    )
    # key 1 (the values) alone, in it key 14, in it a name with one digest of algorithm 7
    assert bytes.fromhex("a101 a10e a3 646d727464 81 82 07 5830") + b"\x01" * 48 in document


def test_a_td_of_two_firmwares_is_two_files_of_intels_profile() -> None:
    two = replace(
        tdx_set(), measurements=(*tdx_set().measurements, predicted("tdx.mrtd", b"\x09" * 48, FIRMWARE, vcpus=2))
    )
    with pytest.raises(InputError) as caught:
        export(request(two), "corim-intel")
    assert caught.value.code == "PVB662"


@pytest.mark.parametrize(
    "changes",
    [
        {"profile": "tag:example.com,2026:other"},
        {"profile": None},
        {"triples": lambda triple: (triple, triple)},
        {"triples": lambda triple: (replace(triple, environment=Environment(vendor="Intel", model="TDX TD")),)},
        {"triples": lambda triple: (replace(triple, measurements=triple.measurements * 2),)},
        {"measurement": {"key": 1}},
        {"measurement": {"digests": (("sha384", bytes(48)),)}},
        {"measurement": {"registers": (("mrtd", (("sha256", bytes(32)),)),)}},
        {"measurement": {"registers": (("mrtd", (("sha384", bytes(48)), ("sha384", bytes(48)))),)}},
        {"measurement": {"registers": (("rtmr4", (("sha384", bytes(48)),)),)}},
    ],
)
def test_another_manifest_is_not_intels(changes: dict[str, Any]) -> None:
    document = export(request(tdx_set()), "corim-intel")
    assert isinstance(document, bytes)
    corim = decode_corim(document)
    (triple,) = corim.triples
    if "measurement" in changes:
        (measurement,) = triple.measurements
        triples: Any = (replace(triple, measurements=(replace(measurement, **changes["measurement"]),)),)
        changed = replace(corim, triples=triples)
    elif "triples" in changes:
        changed = replace(corim, triples=changes["triples"](triple))
    else:
        changed = replace(corim, profile=changes["profile"])
    decode = FORMATS["corim-intel"].decode
    assert decode is not None
    with pytest.raises(FormatError) as caught:
        decode(encode_corim(changed))
    assert caught.value.code == "PVB607"
