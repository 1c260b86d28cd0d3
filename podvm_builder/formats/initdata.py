"""Initdata: a pod's configuration for its machine, as TOML and as the text that an annotation carries.

Specification: Confidential Containers "Initdata Specification" 0.1.0: a TOML document with ``version``, ``algorithm``
and a table ``data`` of texts. Its digest, by the algorithm that it names, is over every byte of the document. An
annotation carries it compressed with gzip, in base64.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import hashlib
import tomllib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from podvm_builder.errors import FormatError

VERSION = "0.1.0"
ALGORITHMS = ("sha256", "sha384", "sha512")
"""Those that the kata agent and cloud-api-adaptor take; IANA's spellings with a dash are refused by both."""
MAX_TOML = 4 << 20
"""Bytes of a document that are read; Kubernetes takes 256 KiB of annotations."""
CODE = "PVB417"
_MAX_TEXT = 8 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Initdata:
    """An initdata document."""

    toml: bytes
    """The document, of which every byte counts."""
    algorithm: str
    """One of :data:`ALGORITHMS`."""
    data: Mapping[str, str]
    """Name to content, e.g. ``aa.toml``."""

    @property
    def digest(self) -> bytes:
        """Return the digest of the document: 32, 48 or 64 bytes."""
        return hashlib.new(self.algorithm, self.toml).digest()


def write_initdata(data: Mapping[str, str], algorithm: str = "sha256") -> Initdata:
    """Return the document that carries texts; the same texts give the same bytes.

    Args:
        data: name to content.
        algorithm: one of :data:`ALGORITHMS`.
    """
    lines = [f'algorithm = "{algorithm}"', f'version = "{VERSION}"', "", "[data]"]
    lines += [f"{_basic(name)} = {_text(content)}" for name, content in data.items()]
    return Initdata(toml=("\n".join(lines) + "\n").encode(), algorithm=algorithm, data=dict(data))


def read_initdata(raw: bytes) -> Initdata:
    """Read a document, plain or as an annotation carries it.

    Raises:
        FormatError: PVB417, it is neither, is too large, or says something that the guest would refuse.
    """
    toml = _unpacked(raw)
    try:
        document = tomllib.loads(toml.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise FormatError(f"initdata: not TOML: {error}", code=CODE) from None
    for key in document:
        if key not in ("algorithm", "version", "data"):
            raise FormatError(f"initdata: unknown key `{key[:60]}`", code=CODE)
    algorithm, version, data = (document.get(key) for key in ("algorithm", "version", "data"))
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise FormatError(f"initdata: `algorithm` is none of {', '.join(ALGORITHMS)}", code=CODE)
    if version != VERSION:
        raise FormatError(f"initdata: `version` is not {VERSION}", code=CODE)
    if not isinstance(data, dict) or not all(isinstance(content, str) for content in data.values()):
        raise FormatError("initdata: `data` is not a table of texts", code=CODE)
    return Initdata(toml=toml, algorithm=algorithm, data=data)


def annotation(initdata: Initdata) -> str:
    """Return what the annotation of a pod holds: gzip and base64, on one line, the same for equal documents."""
    packed = bytearray(gzip.compress(initdata.toml, mtime=0))
    packed[9] = 255  # RFC 1952: the operating system, which differs from one version of Python to another
    return base64.b64encode(packed).decode()


def _unpacked(raw: bytes) -> bytes:
    if len(raw) > _MAX_TEXT:
        raise FormatError(f"initdata: larger than {_MAX_TEXT} bytes", code=CODE)
    try:
        packed = base64.b64decode(b"".join(raw.split()), validate=True)
    except binascii.Error:
        packed = raw
    if packed[:2] != b"\x1f\x8b":
        packed = raw
    if packed[:2] != b"\x1f\x8b":
        if len(raw) > MAX_TOML:
            raise FormatError(f"initdata: larger than {MAX_TOML} bytes", code=CODE)
        return raw
    unpacker = zlib.decompressobj(wbits=31)
    try:
        toml = unpacker.decompress(packed, MAX_TOML)
    except zlib.error as error:
        raise FormatError(f"initdata: damaged gzip: {error}", code=CODE) from None
    if not unpacker.eof:
        raise FormatError(f"initdata: cut short, or more than {MAX_TOML} bytes unpacked", code=CODE)
    if unpacker.unused_data:
        raise FormatError("initdata: something follows the gzip", code=CODE)
    return toml


def _basic(text: str) -> str:
    """Return a basic string of TOML 1.0, on one line."""
    return '"' + "".join(_escape(c, '\\"') for c in text) + '"'


def _text(content: str) -> str:
    """Return a text as a literal string over several lines, which reads as it is, or escaped where it cannot be."""
    plain = all(c in "\n\t" or (c >= " " and c != "\x7f") for c in content)
    if plain and "'''" not in content and not content.endswith("'"):
        return f"'''\n{content}'''"
    return '"""\n' + "".join(c if c == "\n" else _escape(c, '\\"') for c in content) + '"""'


def _escape(character: str, special: str) -> str:
    if character in special:
        return "\\" + character
    return character if " " <= character != "\x7f" else f"\\u{ord(character):04x}"
