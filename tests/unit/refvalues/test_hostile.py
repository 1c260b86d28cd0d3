"""What `refvalues show` must refuse: text that is no JSON, and documents that are no reference values."""

from __future__ import annotations

import pytest

from podvm_builder.errors import FormatError
from podvm_builder.refvalues import read_any
from podvm_builder.refvalues.trustee import read_rvps_sample


@pytest.mark.parametrize(
    "data",
    [
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": [1e999]}',
        b'{"a": "\\ud800"}',
        b'{"\\udfff": 1}',
        b'{"schema": "podvm-measurements/1"}',
    ],
)
def test_what_is_refused(data: bytes) -> None:
    for read in (read_rvps_sample, read_any):
        with pytest.raises(FormatError, match="rvps-sample: ") as caught:
            read(data)
        assert caught.value.code == "PVB607"
