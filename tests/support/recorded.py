"""Recorded vectors of other projects, taken from the source package that holds them and never copied into this one.

They come through pip's own index, pinned by digest, and stay in pip's kind of place: the user's cache. What cannot be
fetched is skipped, with the reason.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

import pytest

PACKAGE = "pypi-attestations"
FILE = "pypi_attestations-0.0.30.tar.gz"
SHA256 = "14ff13c76bbef02a483c2b77532da02bfd746b5141b881f355e06b9807434423"
_ASSETS = "pypi_attestations-0.0.30/test/assets"


def assets() -> dict[str, bytes]:
    """Return the test assets of a release of pypi-attestations, by name: packages with their published provenance."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    place = Path(home) / "podvm-build-tests" / SHA256
    if not place.is_file() or hashlib.sha256(place.read_bytes()).hexdigest() != SHA256:
        data = _fetch()
        place.parent.mkdir(parents=True, exist_ok=True)
        new = place.with_name(f"{SHA256}.{os.getpid()}")
        new.write_bytes(data)
        new.replace(place)
    with tarfile.open(place) as archive:
        found = {}
        for member in archive:
            file = archive.extractfile(member) if member.name.startswith(f"{_ASSETS}/") else None
            if file is not None:
                found[member.name.rpartition("/")[2]] = file.read()
    return found


def _fetch() -> bytes:
    try:
        index = _index().rstrip("/")
        asked = urllib.request.Request(  # noqa: S310 - the index that pip is set up with
            f"{index}/{PACKAGE}/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}
        )
        with urllib.request.urlopen(asked, timeout=60) as answer:  # noqa: S310
            files = json.load(answer)["files"]
        url = next(file["url"] for file in files if file["filename"] == FILE)
        with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310
            data: bytes = answer.read()
    except (OSError, ValueError, KeyError, StopIteration, ImportError, urllib.error.URLError) as error:
        pytest.skip(f"{FILE} cannot be fetched from pip's index: {error}")
    if hashlib.sha256(data).hexdigest() != SHA256:
        pytest.skip(f"pip's index has another {FILE}")
    return data


def _index() -> str:
    """Return the index that pip asks."""
    said = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.index-url"], capture_output=True, text=True, check=False
    )
    if (configured := os.environ.get("PIP_INDEX_URL") or said.stdout.strip()) != "":
        return configured
    from pip._internal.models.index import PyPI

    simple: str = PyPI.simple_url
    return simple
