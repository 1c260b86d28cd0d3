"""Measurements to what each verifier reads."""

from podvm_builder.refvalues.exporters import EXPORTERS, ExportOptions, export, export_all, flat_map
from podvm_builder.refvalues.readers import READERS
from podvm_builder.refvalues.trustee import NEWEST, SUPPORTED
from podvm_builder.refvalues.values import reference_values

__all__ = [
    "EXPORTERS",
    "NEWEST",
    "READERS",
    "SUPPORTED",
    "ExportOptions",
    "export",
    "export_all",
    "flat_map",
    "reference_values",
]
