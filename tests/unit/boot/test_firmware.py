"""A firmware that a boot names and that cannot be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from podvm_builder.boot import firmware
from podvm_builder.catalog.load import catalogue
from podvm_builder.errors import Lacking
from podvm_builder.tools.firmware import NotAtHand
from podvm_builder.tools.mirror import Mirrors
from podvm_builder.tools.tree import load_tree
from tests.support.fake_tree import make_fake_tree

MIRRORS = Mirrors(archive=None, security=None, options=(), origin="a test")


def test_a_firmware_that_is_not_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_fake_tree(tmp_path)
    tree = load_tree(tmp_path, catalogue().tools.id)
    assert tree is not None
    monkeypatch.setattr(firmware, "find_mirrors", lambda _, suite: MIRRORS)
    monkeypatch.setattr(firmware, "get_firmware", lambda name, **_: NotAtHand(name=name, reason="so it is"))
    with pytest.raises(Lacking) as caught:
        firmware.named_firmware("ovmf-amdsev", tree=tree, cache=tmp_path, folder=tmp_path, mirror=None, say=print)
    assert caught.value.code == "PVB515"
    assert caught.value.message == "firmware `ovmf-amdsev` is not at hand: so it is"
