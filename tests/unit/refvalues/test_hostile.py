"""What `refvalues show` must refuse: text that is no JSON, and documents that are no reference values."""

from __future__ import annotations

import pytest

from podvm_builder.errors import FormatError
from podvm_builder.refvalues.readers import read_rvps_sample


@pytest.mark.parametrize(
    "data",
    [b'{"a": NaN}', b'{"a": Infinity}', b'{"a": "\\ud800"}', b'{"\\udfff": 1}', b'{"schema": "podvm-measurements/1"}'],
)
def test_what_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError) as caught:
        read_rvps_sample(data)
    assert caught.value.code == "PVB607"
