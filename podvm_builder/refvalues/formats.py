"""Every export format, and exporting in one or in all of them.

A format's module gives a tuple of :class:`~podvm_builder.refvalues.registry.Format`; it is named here and nowhere else.
"""

from __future__ import annotations

import json

from podvm_builder.errors import FormatError, InputError
from podvm_builder.refvalues import (
    corims,
    corims_intel,
    id_blocks,
    incumbent,
    ita,
    kms,
    maa,
    pcrlock,
    realm,
    rego,
    statement,
    trustee,
)
from podvm_builder.refvalues.admission import admit
from podvm_builder.refvalues.records import bounded
from podvm_builder.refvalues.registry import ExportRequest, Files, FlatMap, Format, wrong

_MODULES: tuple[tuple[Format, ...], ...] = (
    (rego.FORMAT,),
    trustee.FORMATS,
    # before the flat form, which is recognised by less
    corims_intel.FORMATS,
    corims.FORMATS,
    (statement.FORMAT,),
    (id_blocks.FORMAT,),
    (realm.FORMAT,),
    (pcrlock.FORMAT,),
    incumbent.FORMATS,
    (kms.FORMAT,),
    (maa.FORMAT,),
    (ita.FORMAT,),
)
FORMATS: dict[str, Format] = {one.name: one for formats in _MODULES for one in formats}
"""By the name that ``--to`` takes."""
# the flat map is any JSON object: whatever else an object may be is asked first
_BY_STRICTNESS = sorted(FORMATS.values(), key=lambda one: one.name == "rvps-sample")


def export(request: ExportRequest, to: str) -> bytes | Files:
    """Return reference values in the form named ``to``, a key of :data:`FORMATS`; a folder's as its files.

    Raises:
        InputError: there is no such form (PVB606), the version of Trustee does not read it (PVB603), or an option is
            not valid (PVB605).
        Finding: the image or its values may not be exported (PVB601, PVB602, PVB608 to PVB610).
    """
    if to not in FORMATS:
        raise InputError(
            f"`{to}` is not a form of reference values", code="PVB606", hint=f"one of {', '.join(FORMATS)}"
        )
    FORMATS[to].for_version(request.version)
    admit(request.measurements.flags, request.allow)
    return FORMATS[to].encode(request)


def export_all(request: ExportRequest) -> dict[str, bytes]:
    """Return every form that a build writes by its file name.

    Raises:
        Finding: as :func:`export`.
    """
    found: dict[str, bytes] = {}
    for name, one in FORMATS.items():
        if one.in_build:
            document = export(request, name)
            if not isinstance(document, bytes):
                raise TypeError(f"{name} is a folder")
            found[one.file] = document
    return found


def read_back(form: Format, document: bytes | Files) -> FlatMap:
    """Return what a document of a form registers.

    Raises:
        FormatError: it is not of the form (PVB607).
    """
    if isinstance(document, bytes):
        return form.decode(document) if form.decode is not None else {}
    return form.decode_files(document) if form.decode_files is not None else {}


def read_any(data: bytes) -> tuple[str, FlatMap]:
    """Read an exported file of any form, and return the form's name with the values.

    Raises:
        FormatError: the bytes are of none of the forms (PVB607).
    """
    bounded(data, "reference values")
    try:
        parsed: object = json.loads(data)
    except (ValueError, RecursionError):
        parsed = None
    for one in _BY_STRICTNESS:
        if one.decode is not None and one.recognise(data, parsed):
            return one.name, one.decode(data)
    raise wrong("none of the forms that are exported here: neither JSON, nor a ConfigMap, nor a policy")


def read_folder(files: Files) -> tuple[str, FlatMap]:
    """Read an exported folder of any form, and return the form's name with the values.

    Raises:
        FormatError: the files are of none of the forms (PVB607).
    """
    errors: list[FormatError] = []
    for one in FORMATS.values():
        if one.decode_files is not None:
            try:
                return one.name, one.decode_files(files)
            except FormatError as error:
                errors.append(error)
    raise errors[0]
