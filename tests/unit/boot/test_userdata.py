"""The cidata disk: its ISO 9660 image, read back, and its cloud-config."""

from __future__ import annotations

import base64
import gzip
import json
import struct
import tomllib

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from podvm_builder.boot.userdata import APF_JSON, DEFAULT_FILES, cidata, initdata
from podvm_builder.formats.iso9660 import MAX_FILES, SECTOR, iso9660
from podvm_builder.guest.userdata import cloud_config

NAMES = st.text("abcdefghijklmnopqrstuvwxyzABC0123456789_.-", min_size=1, max_size=32).filter(
    lambda name: name not in (".", "..")
)


def sector(image: bytes, number: int, length: int = SECTOR) -> bytes:
    return image[number * SECTOR : number * SECTOR + length]


def read_back(image: bytes) -> tuple[str, dict[str, bytes]]:
    """Read an image as a kernel does: descriptor, root folder, Rock Ridge names (ECMA-119, RRIP)."""
    descriptor = sector(image, 16)
    assert descriptor[:7] == b"\x01CD001\x01"
    assert struct.unpack_from("<I", descriptor, 80)[0] * SECTOR == len(image)
    assert sector(image, 17)[:7] == b"\xffCD001\x01"
    extent, length = struct.unpack_from("<I", descriptor, 158)[0], struct.unpack_from("<I", descriptor, 166)[0]
    folder = sector(image, extent, length)
    files: dict[str, bytes] = {}
    identifiers = []
    offset = 0
    while offset < length and folder[offset]:
        record = folder[offset : offset + folder[offset]]
        assert len(record) % 2 == 0
        start, size = struct.unpack_from("<I", record, 2)[0], struct.unpack_from("<I", record, 10)[0]
        assert (start, size) == (struct.unpack_from(">I", record, 6)[0], struct.unpack_from(">I", record, 14)[0])
        identifier = record[33 : 33 + record[32]]
        use = record[33 + record[32] + (record[32] + 1) % 2 :]
        entries: dict[bytes, bytes] = {}
        while len(use) >= 4:
            entries[use[:2]] = use[4 : use[2]]
            use = use[use[2] :]
        if identifier == b"\0":
            assert entries[b"SP"] == b"\xbe\xef\0"
            assert b"RRIP_1991A" in entries[b"ER"]
        if b"NM" in entries:
            files[entries[b"NM"][1:].decode()] = sector(image, start, size)
            identifiers.append(identifier)
        offset += len(record)
    assert identifiers == sorted(set(identifiers))
    return descriptor[40:72].decode().rstrip(), files


@given(st.dictionaries(NAMES, st.binary(max_size=5000), max_size=MAX_FILES))
def test_files_come_back_as_they_went_in(files: dict[str, bytes]) -> None:
    assert read_back(iso9660("cidata", files)) == ("cidata", files)


@pytest.mark.parametrize(
    ("label", "names"),
    [
        ("", []),
        ("x" * 33, []),
        ("é", []),
        ("a", ["a/b"]),
        ("a", [".."]),
        ("a", ["n" * 33]),
        ("a", [str(i) for i in range(17)]),
    ],
)
def test_what_does_not_fit_is_refused(label: str, names: list[str]) -> None:
    with pytest.raises(ValueError, match=r"no volume label|no file name|files; 16 fit"):
        iso9660(label, dict.fromkeys(names, b""))


def test_the_disk_is_labelled_as_the_guest_looks_for_it() -> None:
    label, files = read_back(cidata())
    assert label == "cidata"
    assert set(files) == {"user-data", "meta-data"}
    assert files["user-data"].startswith(b"#cloud-config\n")
    assert cidata() == cidata()


def test_the_cloud_config_writes_the_agents_files() -> None:
    document = yaml.safe_load(cloud_config(DEFAULT_FILES))
    assert {entry["path"]: entry["content"] for entry in document["write_files"]} == {
        f"/run/peerpod/{name}": content for name, content in DEFAULT_FILES.items()
    }
    assert set(document) == {"write_files"}
    tomllib.loads(DEFAULT_FILES["aa.toml"])
    tomllib.loads(DEFAULT_FILES["cdh.toml"])
    assert json.loads(APF_JSON)["pod-namespace"] == "default"


def test_the_init_data_is_that_of_its_specification() -> None:
    packed = base64.b64decode(DEFAULT_FILES["initdata"], validate=False)
    document = tomllib.loads(gzip.decompress(packed).decode())
    assert (document["algorithm"], document["version"]) == ("sha256", "0.1.0")
    assert document["data"] == {name: DEFAULT_FILES[name] for name in ("aa.toml", "cdh.toml")}
    assert packed[4:10] == b"\0\0\0\0\x02\xff"  # no time, no operating system
    assert initdata({"aa.toml": "x = 1\n"}) == initdata({"aa.toml": "x = 1\n"})


@pytest.mark.parametrize(
    "content", ["", "no newline", "two newlines\n\n", " starts with a blank\n", "a\tb\n", "a\0b\n"]
)
def test_content_that_yaml_would_change_is_refused(content: str) -> None:
    with pytest.raises(ValueError, match="does not keep"):
        cloud_config({"aa.toml": content})
