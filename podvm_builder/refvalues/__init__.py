"""Measurements to what each verifier reads."""

from podvm_builder.refvalues.formats import FORMATS, export, export_all, read_any
from podvm_builder.refvalues.records import flat_map
from podvm_builder.refvalues.registry import ExportOptions, ExportRequest, Format
from podvm_builder.refvalues.values import reference_values
from podvm_builder.refvalues.versions import NEWEST, SUPPORTED

__all__ = [
    "FORMATS",
    "NEWEST",
    "SUPPORTED",
    "ExportOptions",
    "ExportRequest",
    "Format",
    "export",
    "export_all",
    "flat_map",
    "read_any",
    "reference_values",
]
