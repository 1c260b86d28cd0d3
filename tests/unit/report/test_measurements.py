"""Measurements as tables: rows that stay readable, and remarks that say which rows they are about."""

from __future__ import annotations

from podvm_builder.model.measurement import Identification, Measurement, MeasurementSet, Status
from podvm_builder.report.measurements import render_measurements

FIRMWARE = "sha256:" + "3e4fd0b3" * 8
CMDLINE = "sha256:" + "6e340b9c" * 8


def row(register: str, *, alg: str = "sha384", reason: str | None = None, **variant: str | int | bool) -> Measurement:
    return Measurement(
        register=register, alg=alg, status=Status.PREDICTED, value=b"\x07" * 4, reason=reason, variant=variant
    )


def render(*rows: Measurement) -> list[str]:
    found = MeasurementSet(
        target="",
        ids={},
        identifies_image=Identification(value=False, by=(), reason="because"),
        logs={},
        regions={},
        measurements=rows,
    )
    return render_measurements(found).splitlines()


def test_a_digest_is_whole_above_the_table_and_cut_in_its_columns() -> None:
    lines = render(
        row("snp.launch_digest", firmware=FIRMWARE, boot="disk"),
        row("snp.launch_digest", firmware=FIRMWARE, boot="direct", cmdline=CMDLINE),
    )
    assert lines[0] == f"firmware  {FIRMWARE}"
    assert lines[3].split() == ["snp.launch_digest", "disk", "-", "07070707"]
    assert lines[4].split() == ["snp.launch_digest", "direct", "sha256:6e340b9c6e34…", "07070707"]


def test_a_remark_on_every_row_needs_no_selection() -> None:
    lines = render(row("tdx.mrtd", reason="so", memory="1G"), row("tdx.mrtd", reason="so", memory="2G"))
    assert "note: so" in lines


def test_a_remark_names_the_entry_that_selects_its_rows() -> None:
    lines = render(
        row("snp.launch_digest", reason="so", vcpus=1, boot="disk"),
        row("snp.launch_digest", reason="so", vcpus=2, boot="disk"),
        row("snp.launch_digest", vcpus=1, boot="direct"),
    )
    assert "note: boot disk: so" in lines


def test_a_remark_names_its_registers_and_what_else_selects_its_rows() -> None:
    lines = render(
        row("tdx.rtmr1", reason="so", boot="disk"),
        row("tdx.rtmr1", boot="direct"),
        row("tdx.rtmr2", boot="disk"),
        row("tdx.mrtd", reason="also"),
    )
    assert "note: tdx.rtmr1 with boot disk: so" in lines
    assert "note: tdx.mrtd: also" in lines


def test_a_remark_on_one_bank_names_it() -> None:
    lines = render(row("tpm.pcr09", alg="sha1", reason="so", boot="disk"), row("tpm.pcr09", alg="sha256", boot="disk"))
    assert "note: bank sha1: so" in lines
