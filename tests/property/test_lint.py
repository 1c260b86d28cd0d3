"""Lint of damaged images and odd trees: a report or a refusal, and nothing else."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from podvm_builder.errors import FormatError
from podvm_builder.formats.compression import Unsupported
from podvm_builder.formats.memory_tree import MemoryFile
from podvm_builder.formats.readers import BytesReader
from podvm_builder.lint.known import own_knowledge
from podvm_builder.lint.opening import about_plan, image_subject, parse_settings
from podvm_builder.lint.run import lint
from podvm_builder.report.lint import lint_to_github, lint_to_sarif, render_lint
from tests.support.lint_image import clean_image
from tests.support.lint_subjects import good_files, image, report
from tests.support.plans import selftest_plan

PATHS = sorted(good_files())


@settings(max_examples=25)
@given(st.data())
def test_a_damaged_image_is_linted_or_refused(data: st.DataObject) -> None:
    disk = bytearray(clean_image()[0])
    start = data.draw(st.sampled_from([0, len(disk) // 2, len(disk) - 40_000]))
    for _ in range(data.draw(st.integers(1, 4))):
        disk[data.draw(st.integers(start, len(disk) - 1))] = data.draw(st.integers(0, 255))
    with suppress(FormatError, Unsupported):
        about = about_plan(selftest_plan("debian-13/none/libvirt"))
        found = lint(image_subject("image", BytesReader(bytes(disk)), about), own_knowledge())
        # whatever was changed in the root, its hash tells
        assert render_lint(found)


@settings(max_examples=25)
@given(
    st.dictionaries(
        st.sampled_from(PATHS), st.one_of(st.none(), st.binary(max_size=64), st.text(max_size=20)), max_size=4
    ),
    st.text(max_size=40),
)
def test_odd_files_and_command_lines_are_told_of(changes: dict[str, bytes | str | None], cmdline: str) -> None:
    files = {
        path: None if data is None else MemoryFile(data=data) if isinstance(data, bytes) else MemoryFile(target=data)
        for path, data in changes.items()
    }
    found = report(image(files, cmdline=cmdline))
    text = render_lint(found)
    assert text.count("\n  mend: ") == len(found.findings)
    assert lint_to_github([found]).count("\n") == max(len(found.findings) + len(found.excused) - 1, 0)
    assert len(lint_to_sarif([found], {one.code: (one.rule, one.mend) for one in found.findings})["runs"]) == 1


@given(st.text(max_size=200))
def test_any_text_is_read_as_settings(text: str) -> None:
    parse_settings(text)
