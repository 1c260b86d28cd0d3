"""Reference values under ``rvps:///`` names, Trustee's recommended convention from 0.18 on.

A flat map of name to one hex text. No default policy asks for such names: a policy of one's own does. A register with
several values gets a name per variant, with the settings that tell the variants apart as further parts of the path.
Trustee's ``LocalFs``, Postgres and Redis storages refuse the colon before the tag; ``Memory`` and ``LocalJson`` take
it.
"""

from __future__ import annotations

import re

from podvm_builder.errors import Finding, InputError
from podvm_builder.model.measurement import Measurement
from podvm_builder.refvalues import records
from podvm_builder.refvalues.registry import OF_POLICY, ExportRequest, FlatMap, Format, wrong
from podvm_builder.refvalues.values import accepted_rows

SCHEME = "rvps:///"
_NAMES = {"snp.launch_digest": "snp/measurement", "tdx.mrtd": "tdx/mr_td"}
_TAG_LENGTH = 16
_TAG = r"[A-Za-z0-9_][A-Za-z0-9._-]*"


def rvps_uri(request: ExportRequest) -> bytes:
    """Return the map of names to hex texts, of the registers that the policy compares.

    Raises:
        InputError: there is no tag, or it is none (PVB605).
        Finding: a name would have two values (PVB609), or as :func:`.values.reference_values`.
    """
    request.values()  # what may not be exported is refused there
    tag = request.options.uri_tag or request.measurements.ids.get("image", "")[:_TAG_LENGTH]
    if not tag:
        raise InputError(
            "the measurements carry no identity to tag `rvps:///` names with", code="PVB605", hint="give `--uri-tag`"
        )
    if re.fullmatch(_TAG, tag) is None:
        raise InputError(
            f"the image's identity `{tag}` is no tag of an `rvps:///` name", code="PVB605", hint="give `--uri-tag`"
        )
    found: dict[str, str] = {}
    for check in request.rules().named:
        rows = accepted_rows(check, request.measurements, allow_unbound="unbound-image" in request.allow)
        for row in rows:
            name = "/".join((request.options.uri_path, _name(check.register), *_apart(row, rows)))
            if row.value is not None:
                _add(found, f"{SCHEME}{name}:{tag}", row.value.hex())
    return records.dump(found, indent=2)


def read_rvps_uri(data: bytes) -> FlatMap:
    """Read a map of ``rvps:///`` names.

    Raises:
        FormatError: a name that is none, or a value that is no text (PVB607).
    """
    found = dict(records.as_object(records.parse_json(data, "rvps-uri"), "rvps-uri"))
    for name, value in found.items():
        if not name.startswith(SCHEME) or not isinstance(value, str):
            raise wrong(f"rvps-uri: `{name}` is not a `{SCHEME}` name with a text")
    return found


def _add(found: dict[str, str], name: str, value: str) -> None:
    if found.setdefault(name, value) != value:
        raise Finding(
            f"`{name}` would have two values",
            code="PVB609",
            hint="the values of several images are told apart by `--uri-path` or `--uri-tag`: export them one by one",
        )


def _name(register: str) -> str:
    family, _, rest = register.partition(".")
    return _NAMES.get(register) or f"{family}/{re.sub(r'^rtmr', 'rtmr_', rest)}"


def _apart(row: Measurement, rows: list[Measurement]) -> list[str]:
    """Return what tells a row from the others of its register, as parts of a path."""
    if len({one.value for one in rows}) == 1:
        return []
    keys = [key for key in row.variant if len({one.variant.get(key) for one in rows}) > 1]
    return [f"{key}-{re.sub(r'[^A-Za-z0-9._-]', '_', str(row.variant[key]))}" for key in keys]


def _is_uris(_: bytes, parsed: object) -> bool:
    return isinstance(parsed, dict) and bool(parsed) and all(str(name).startswith(SCHEME) for name in parsed)


FORMAT = Format(
    name="rvps-uri",
    title="a map of `rvps:///` names to single hex texts, for a policy of one's own",
    file="rvps-uri.json",
    media="application/json",
    encode=rvps_uri,
    decode=read_rvps_uri,
    recognise=_is_uris,
    since=(0, 18),
    heeds=OF_POLICY | {"uri_path", "uri_tag"},
    why_not="the convention came with 0.18",
)
