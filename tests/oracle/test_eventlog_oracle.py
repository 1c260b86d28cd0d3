"""Event logs beside tpm2_eventlog."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from podvm_builder.formats.eventlog import parse_event_log
from podvm_builder.formats.eventlog_replay import banks, replay
from tests.support.tools_tree import Oracle


@pytest.mark.parametrize("name", ["252nosb", "252sb", "257setup", "262sb"])
def test_replay_is_that_of_tpm2_eventlog(tmp_path: Path, own_vectors: Path, name: str) -> None:
    data = (own_vectors / "own-boots" / name / "eventlog.bin").read_bytes()
    (tmp_path / "log").write_bytes(data)
    said = Oracle(tmp_path).run("/usr/bin/tpm2_eventlog", "log").decode()
    log = parse_event_log(data)
    for bank in banks(log):
        block = re.search(rf"^  {bank}:\n((?:    +\d+ *: 0x[0-9a-f]+\n)+)", said, re.MULTILINE)
        assert block is not None
        theirs = {int(pcr): value for pcr, value in re.findall(r"(\d+) *: 0x([0-9a-f]+)", block[1])}
        assert {pcr: value.hex() for pcr, value in replay(log, bank).items()} == theirs
