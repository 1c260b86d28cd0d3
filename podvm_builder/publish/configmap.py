"""Reference values in a manifest of the Trustee operator's ConfigMap: a file for `kubectl apply`.

The file is read, changed and written back; what it holds besides (labels, annotations, other keys) stays, and so do
records that do not change.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from podvm_builder.errors import FormatError, InputError, Place
from podvm_builder.refvalues import records
from podvm_builder.refvalues.registry import MAX_DOCUMENT, ExportOptions, wrong
from podvm_builder.refvalues.trustee import ARRAY_KEY, KEYED_KEY, read_operator_configmap
from podvm_builder.refvalues.versions import Version, show
from podvm_builder.tools.files import write_named
from podvm_builder.tools.inputs import open_input


class ConfigMapStore:
    """The values in one manifest.

    Args:
        path: the file; it is made where it is absent.
        version: Trustee's, which decides the form of the records.
        options: name and namespace of a ConfigMap that is made, and the expiration of records that change.
        metadata: ``name`` and ``namespace`` that one must have which is there already; those left out may be any.
    """

    def __init__(
        self, path: Path, *, version: Version, options: ExportOptions, metadata: Mapping[str, str] | None = None
    ) -> None:
        """Keep the parts; the file is read when values are."""
        self._path = path
        self._version = version
        self._options = options
        self._metadata = dict(metadata or {})
        self._key = KEYED_KEY if version >= records.KEYED_SINCE else ARRAY_KEY

    @property
    def where(self) -> str:
        """The file."""
        return str(self._path)

    def read(self, names: Iterable[str]) -> dict[str, Any]:
        """Return the values of those names that are in the file.

        Raises:
            InputError: PVB320, it cannot be read; PVB605, it has another name or namespace than it must have.
            FormatError: PVB607, it is no such manifest, or has the records of other versions.
        """
        _, values = self._load()
        return {name: values[name] for name in names if name in values}

    def write(self, values: Mapping[str, Any]) -> None:
        """Put values into the file, each in the place of what has its name; the file is written whole or not at all.

        Raises:
            InputError: it cannot be read (PVB320) or written (PVB324).
            FormatError: PVB607, as :meth:`read`.
            Lacking: PVB321 or PVB322, it cannot be written.
        """
        manifest, _ = self._load()
        stored = json.loads(manifest["data"][self._key])
        made = [
            records.record(name, value, expiration=self._options.expiration, version=self._version)
            for name, value in values.items()
        ]
        if self._key == KEYED_KEY:
            stored |= {one["name"]: base64.urlsafe_b64encode(records.dump(one)).decode("ascii") for one in made}
        else:
            stored = [one for one in stored if one["name"] not in values] + made
        manifest["data"][self._key] = records.dump(stored, indent=2).decode("ascii")
        write_named(self._path, _to_yaml(manifest))

    def _load(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the manifest and the values in it; an empty one where there is no file."""
        # unlike pathlib's, this function answers no of a path that cannot be; writing it says why
        if not os.path.exists(self._path):  # noqa: PTH110 - it raises nothing, as Path.exists() does where a folder is closed to us
            return self._new(), {}
        with open_input(self._path) as file:
            data = file.read(MAX_DOCUMENT + 1)
        try:
            values = read_operator_configmap(data)
            manifest = _from_yaml(data)
            if self._key not in manifest["data"]:
                raise wrong(f"operator-configmap: there is no `{self._key}`, which Trustee {show(self._version)} reads")
        except FormatError as error:
            error.place = Place(file=str(self._path))
            raise
        for key, wanted in self._metadata.items():
            found = manifest.get("metadata", {}).get(key)
            if found != wanted:
                raise InputError(
                    f"the ConfigMap has the {key} `{found}`, not `{wanted}`",
                    code="PVB605",
                    place=Place(file=str(self._path)),
                    hint=f"leave `--{key}` out, which is for a new file, or name another file",
                )
        return manifest, values

    def _new(self) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": self._options.name, "namespace": self._options.namespace},
            "data": {self._key: "{}" if self._key == KEYED_KEY else "[]"},
        }


def _from_yaml(data: bytes) -> dict[str, Any]:
    import yaml

    manifest: dict[str, Any] = yaml.safe_load(data)
    return manifest


def _to_yaml(manifest: Mapping[str, Any]) -> bytes:
    import yaml

    class Dumper(yaml.SafeDumper):
        """Writes texts of several lines as such."""

    def literal(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)

    Dumper.add_representer(str, literal)
    text: str = yaml.dump(manifest, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=2**16)
    return text.encode("utf-8")
