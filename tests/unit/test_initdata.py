"""PCR 8: init data's digest, and the program in the guest that extends it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podvm_builder.boot.userdata import INITDATA, initdata, initdata_text
from podvm_builder.errors import FormatError
from podvm_builder.guest.files import template_files
from podvm_builder.measure.initdata import initdata_event
from podvm_builder.measure.tpm import fold

SCRIPT = "usr/local/lib/podvm/extend-initdata"


@given(st.binary(max_size=200))
def test_pcr_8_is_one_extend_of_zeros_with_the_digest(toml: bytes) -> None:
    event = initdata_event(toml)
    assert set(event.digests) == {"sha256"}
    assert fold((event,), 8, "sha256") == hashlib.sha256(bytes(32) + hashlib.sha256(toml).digest()).digest()


@pytest.mark.parametrize("algorithm", ["sha384", "sha512"])
def test_a_longer_digest_counts_with_its_first_32_bytes(algorithm: str) -> None:
    assert initdata_event(b"x", algorithm).digests["sha256"] == hashlib.new(algorithm, b"x").digest()[:32]


def test_another_algorithm_is_refused() -> None:
    with pytest.raises(FormatError) as caught:
        initdata_event(b"x", "sha-256")
    assert caught.value.code == "PVB261"


def test_what_is_sent_is_what_is_digested() -> None:
    assert gzip.decompress(base64.b64decode(initdata(INITDATA))) == initdata_text(INITDATA)


def run(folder: Path, digest: str | None, answer: bytes | None, cmdline: str = "quiet") -> tuple[int, bytes, str]:
    """Run the guest's program on files of the test; return its exit code, what it sent to the TPM, and its words."""
    script = template_files("guest")[SCRIPT].decode()
    for path in ("/run/peerpod/initdata.digest", "/proc/cmdline", "/dev/tpmrm0"):
        script = script.replace(path, f"{folder}/{path.rsplit('/', 1)[1]}")
    (folder / "cmdline").write_text(f"{cmdline}\n")
    if digest is not None:
        (folder / "initdata.digest").write_text(digest)
    if answer is not None:
        # a file in place of the TPM: the command is written at its start, the answer is read behind it
        (folder / "tpmrm0").write_bytes(bytes(65) + answer)
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, check=False, env={"PATH": os.environ["PATH"]})
    sent = (folder / "tpmrm0").read_bytes()[:65] if answer is not None else b""
    return done.returncode, sent, done.stderr.decode()


OK = bytes.fromhex("80020000001300000000") + bytes(9)


def test_the_guest_sends_the_command_of_the_specification(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"%s \\ \0 x").hexdigest()
    code, sent, _ = run(tmp_path, f"{digest}\n", OK)
    assert code == 0
    expected = [
        "8002 00000041 00000182",  # TPM_ST_SESSIONS, size, TPM_CC_PCR_Extend
        "00000008",  # PCR 8
        "00000009 40000009 0000 00 0000",  # authorization area: TPM_RS_PW, no nonce, no attributes, no password
        f"00000001 000b {digest}",  # one digest, TPM_ALG_SHA256
    ]
    assert sent.hex() == "".join(expected).replace(" ", "")


def test_a_longer_digest_is_cut(tmp_path: Path) -> None:
    digest = hashlib.sha384(b"x").hexdigest()
    code, sent, _ = run(tmp_path, digest, OK)
    assert code == 0 and sent.hex().endswith(digest[:64])


@pytest.mark.parametrize("digest", ["", "12", "zz" * 32, "AB" * 32, "ab" * 31])
def test_what_is_no_digest_stops_the_machine(tmp_path: Path, digest: str) -> None:
    code, sent, words = run(tmp_path, digest, OK)
    assert code == 1 and sent == bytes(65) and "no digest" in words


def test_a_tpm_that_refuses_stops_the_machine(tmp_path: Path) -> None:
    code, _, words = run(tmp_path, "ab" * 32, bytes.fromhex("8001 0000000a 00000101"))
    assert code == 1 and "refused" in words


@pytest.mark.parametrize(
    ("cmdline", "code"), [("quiet podvm.initdata=pcr8 x", 1), ("quiet", 0), ("a podvm.initdata=pcr88", 0)]
)
def test_no_tpm_stops_only_a_machine_that_must_be_bound(tmp_path: Path, cmdline: str, code: int) -> None:
    assert run(tmp_path, "ab" * 32, None, cmdline)[0] == code


def test_no_initdata_extends_nothing(tmp_path: Path) -> None:
    code, sent, _ = run(tmp_path, None, OK)
    assert code == 0 and sent == bytes(65)
