"""The table of kernel hashes: read as it is written, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from podvm_builder.errors import FormatError
from podvm_builder.formats.kernel_hashes import KernelHashes, decode_kernel_hashes, encode_kernel_hashes

HASHES = KernelHashes(kernel=b"\x01" * 32, initrd=b"\x02" * 32, cmdline=b"\x03" * 32)


def _changed(at: int) -> Callable[[bytes], bytes]:
    return lambda table: table[:at] + bytes([table[at] ^ 1]) + table[at + 1 :]


def test_what_is_written_is_read() -> None:
    assert decode_kernel_hashes(encode_kernel_hashes(HASHES)) == HASHES


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda table: table[:-1], "bytes, not"),
        (_changed(0), "its GUID and length"),
        (_changed(16), "its GUID and length"),
        (_changed(18), "entry 0"),
        (_changed(18 + 50 + 16), "entry 1"),
        (_changed(-1 % len(encode_kernel_hashes(HASHES))), "padding"),
    ],
    ids=["short", "guid", "length", "first-guid", "second-length", "padding"],
)
def test_another_table_is_refused(change: Callable[[bytes], bytes], words: str) -> None:
    with pytest.raises(FormatError, match=words) as caught:
        decode_kernel_hashes(change(encode_kernel_hashes(HASHES)))
    assert caught.value.code == "PVB234"
