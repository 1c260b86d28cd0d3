"""Progress of pulls: one line on a terminal, a line for each blob elsewhere."""

from __future__ import annotations

import io

from podvm_builder.model.oci import Descriptor
from podvm_builder.tools.oci.progress import Transfers

ONE = Descriptor(
    media_type="x",
    digest="sha256:" + "1" * 64,
    size=4_000_000,
    annotations={"org.opencontainers.image.title": "agent.tar.xz"},
)
TWO = Descriptor(media_type="x", digest="sha256:" + "2" * 64, size=1_000_000)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    with Transfers(stream) as transfers:
        transfers(ONE, 1_000_000)
        transfers(TWO, TWO.size)
        transfers(ONE, ONE.size)
    assert stream.getvalue() == "pulled sha256:222222222222: 1.0 MB\npulled agent.tar.xz: 4.0 MB\n"


def test_one_line_on_a_terminal_and_none_in_the_end() -> None:
    now = [0.0]
    stream = Terminal()
    with Transfers(stream, clock=lambda: now[0]) as transfers:
        for moment, blob, there in (
            (0.0, ONE, 1_000_000),
            (1.0, ONE, 3_000_000),
            (1.1, TWO, 500_000),
            (2.0, TWO, TWO.size),
        ):
            now[0] = moment
            transfers(blob, there)
    assert stream.getvalue().split("\r\x1b[K")[1:] == [
        "pulling: 0 of 1 blobs, 1.0 MB of 4.0 MB, 0 kB/s",
        "pulling: 0 of 1 blobs, 3.0 MB of 4.0 MB, 2.0 MB/s",
        "pulling: 1 of 2 blobs, 4.0 MB of 5.0 MB, 1.5 MB/s",
        "",
    ]


def test_nothing_was_pulled() -> None:
    stream = Terminal()
    with Transfers(stream):
        pass
    assert stream.getvalue() == ""
