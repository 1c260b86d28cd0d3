"""Names of the files in a build's output folder that other commands read."""

from __future__ import annotations

RAW = "image.raw"
"""The disk."""
UKI = "image.efi"
"""The unified kernel image that is on the disk, once more on its own."""
MANIFEST = "manifest.json"
"""What was built, and from what."""
MEASUREMENTS = "measurements.json"
"""What it measures to."""
