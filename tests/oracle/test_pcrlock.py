"""systemd-pcrlock as an oracle: the component that it makes of a UKI is a part of the one that we export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from podvm_builder.formats.readers import BytesReader
from podvm_builder.measure.machine import measure_tpm
from podvm_builder.refvalues import ExportOptions, export
from podvm_builder.refvalues.pcrlock import read_pcrlock
from tests.support.measurement_sets import request
from tests.support.pe import INITRD, build_kernel
from tests.support.tools_tree import Oracle

STUB = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"
PCRLOCK = "/usr/lib/systemd/systemd-pcrlock"


@pytest.fixture
def oracle(tmp_path: Path) -> Oracle:
    return Oracle(tmp_path)


def make_uki(oracle: Oracle) -> bytes:
    """Have ukify build a UKI whose initrd can be read, so that what boots after it is known."""
    oracle.path(STUB)
    (oracle.folder / "linux").write_bytes(build_kernel(body=bytes(range(256)) * 101))
    (oracle.folder / "initrd").write_bytes(INITRD)
    oracle.run(
        "/usr/bin/ukify",
        "build",
        *("--linux", "linux", "--initrd", "initrd", "--cmdline", "quiet roothash=abc", "--stub", STUB),
        *("--os-release", "ID=test", "--uname", "6.12.1-test", "--output", "uki.efi"),
    )
    return (oracle.folder / "uki.efi").read_bytes()


def records(document: bytes, pcr: int) -> list[dict[str, Any]]:
    """Return the digests of a PCR's records by bank, in order."""
    return [
        {one["hashAlg"]: one["digest"] for one in record["digests"]}
        for record in json.loads(document)["records"]
        if record["pcr"] == pcr
    ]


def test_the_records_of_a_uki_are_those_of_systemd_pcrlock(oracle: Oracle) -> None:
    uki = make_uki(oracle)
    oracle.run(PCRLOCK, "lock-uki", "uki.efi", "--pcrlock=theirs.pcrlock")
    theirs = (oracle.folder / "theirs.pcrlock").read_bytes()
    measured = measure_tpm(BytesReader(uki), workers=1)
    options = ExportOptions(boot="disk")
    ours = export(request(measured, options=options, allow=frozenset({"unbound-image"})), "pcrlock")
    assert isinstance(ours, bytes)

    banks = set(records(ours, 11)[0]) & set(records(theirs, 11)[0])
    assert "sha256" in banks
    for pcr in (4, 11):
        known = [{bank: one[bank] for bank in banks} for one in records(ours, pcr)]
        wanted = [{bank: one[bank] for bank in banks} for one in records(theirs, pcr)]
        assert wanted
        assert [one for one in known if one in wanted] == wanted

    # and it finds the file, whose name is that of a component
    (oracle.folder / "650-podvm.pcrlock").write_bytes(ours)
    listed = json.loads(oracle.run(PCRLOCK, "list-components", "--components=/mnt/x", "--json=short", "--no-pager"))
    assert "650-podvm" in {one["id"] for one in listed}
    assert read_pcrlock(theirs).keys() >= {"tpm.pcr04:sha256", "tpm.pcr11:sha256"}
