"""Reference values in the forms that Trustee takes.

============================  ==========================================================================
``rvps-sample``               the flat map ``{name: value}``, the payload of a ``sample`` message
``rvps-message``              the registration message around it, for ``rvps-tool`` and the KBS
``operator-configmap``        a Kubernetes ConfigMap for the Trustee operator 0.19 and newer
============================  ==========================================================================

Equal values give equal bytes: there is no clock here, so what expires is said by the caller.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from podvm_builder.errors import InputError
from podvm_builder.model.refvalue import ReferenceValues

VERSION = "0.1.0"
"""Trustee's ``MESSAGE_VERSION`` and ``REFERENCE_VALUE_VERSION``, the same in every release."""

_TIME = "%Y-%m-%dT%H:%M:%SZ"
# RFC 1123 subdomain, as Kubernetes wants the name of a ConfigMap and (without dots) of a namespace
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_SUBDOMAIN = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*")
_NAMESPACE = re.compile(_LABEL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """What an exported document says besides the values.

    Raises:
        InputError: a name or the time is not of the form that its reader takes (PVB605).
    """

    expiration: str = "2099-12-31T23:59:59Z"
    """When the stored records expire, UTC. Every record must say it and no Trustee from 0.16 on acts on it, so the
    default is far away and the same for everyone: a value is retired by removing it."""
    name: str = "rvps-reference-values"
    """The ConfigMap's name, which ``kbsRvpsRefValuesConfigMapName`` of the ``KbsConfig`` refers to."""
    namespace: str = "trustee-operator-system"
    """The ConfigMap's namespace, that of the operator."""

    def __post_init__(self) -> None:
        """Refuse what Trustee or Kubernetes would refuse later."""
        try:
            exact = datetime.strptime(self.expiration, _TIME).strftime(_TIME) == self.expiration
        except ValueError:
            exact = False
        if not exact:
            raise InputError(
                f"`{self.expiration}` is not a time as Trustee reads it",
                code="PVB605",
                hint="e.g. 2027-12-31T23:59:59Z",
            )
        for value, pattern, what in (
            (self.name, _SUBDOMAIN, "name of a ConfigMap"),
            (self.namespace, _NAMESPACE, "Kubernetes namespace"),
        ):
            if pattern.fullmatch(value) is None:
                raise InputError(
                    f"`{value}` is not a {what}", code="PVB605", hint="lower-case letters, digits and hyphens"
                )


_DEFAULTS = ExportOptions()


def rvps_sample(values: ReferenceValues, options: ExportOptions = _DEFAULTS) -> bytes:
    """Return the flat map ``{name: value}``, indented."""
    return _json(flat_map(values), indent=2)


def rvps_message(values: ReferenceValues, options: ExportOptions = _DEFAULTS) -> bytes:
    """Return the registration message; its payload is the flat map in standard, padded base64."""
    payload = base64.b64encode(_json(flat_map(values))).decode("ascii")
    return _json({"version": VERSION, "type": "sample", "payload": payload}, indent=2)


def operator_configmap(values: ReferenceValues, options: ExportOptions = _DEFAULTS) -> bytes:
    """Return the manifest of the operator's ConfigMap.

    Its one key is mounted as the file of Trustee's ``LocalJson`` storage: an object of name to the base64 of the
    stored record.
    """
    records = {name: _record(name, value, options) for name, value in flat_map(values).items()}
    body = _json(records, indent=2).decode("ascii")
    lines = [
        "apiVersion: v1",
        "kind: ConfigMap",
        "metadata:",
        f"  name: {_yaml_text(options.name)}",
        f"  namespace: {_yaml_text(options.namespace)}",
        "data:",
        "  reference_value: |",
        *(f"    {line}" for line in body.splitlines()),
    ]
    return ("\n".join(lines) + "\n").encode("ascii")


Exporter = Callable[[ReferenceValues, ExportOptions], bytes]

EXPORTERS: dict[str, tuple[str, Exporter]] = {
    "rvps-sample": ("rvps-sample.json", rvps_sample),
    "rvps-message": ("rvps-message.json", rvps_message),
    "operator-configmap": ("operator-configmap.yaml", operator_configmap),
}
"""By name: the file name in an output folder, and the function."""


def export(values: ReferenceValues, to: str, options: ExportOptions = _DEFAULTS) -> bytes:
    """Return reference values in the form named ``to``, a key of :data:`EXPORTERS`.

    Raises:
        InputError: there is no such form (PVB606).
    """
    if to not in EXPORTERS:
        raise InputError(
            f"`{to}` is not a form of reference values", code="PVB606", hint=f"one of {', '.join(EXPORTERS)}"
        )
    return EXPORTERS[to][1](values, options)


def export_all(values: ReferenceValues, options: ExportOptions = _DEFAULTS) -> dict[str, bytes]:
    """Return every form by its file name, as a build's ``reference-values`` folder holds them."""
    return {file: exporter(values, options) for file, exporter in EXPORTERS.values()}


def flat_map(values: ReferenceValues) -> dict[str, str | list[str]]:
    """Return name to value with the JSON types that the policy compares: arrays for membership, else scalars."""
    return {one.name: list(one.value) if isinstance(one.value, tuple) else one.value for one in values.values}


def _record(name: str, value: str | list[str], options: ExportOptions) -> str:
    record = {"version": VERSION, "name": name, "expiration": options.expiration, "value": value}
    # LocalJson decodes the URL-safe alphabet with padding. The alphabets differ only where a group of three bytes
    # ends in `>`, `?`, `~` or DEL, which no record has, so a reader of the standard alphabet is served as well.
    return base64.urlsafe_b64encode(_json(record)).decode("ascii")


def _yaml_text(text: str) -> str:
    # a name such as `no` or `1e3` is text only in quotes, and JSON's quotes are YAML's
    return json.dumps(text)


def _json(value: object, indent: int | None = None) -> bytes:
    separators = (",", ":") if indent is None else None
    text = json.dumps(value, indent=indent, separators=separators, ensure_ascii=True)
    return (text + ("" if indent is None else "\n")).encode("ascii")
