"""What the catalogue knows, as rows for lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from podvm_builder.catalog.entries import Catalogue
from podvm_builder.catalog.instance_types import Instance
from podvm_builder.report.text import printable

Row = Mapping[str, Any]


def distro_rows(catalogue: Catalogue) -> list[Row]:
    """Return the distributions."""
    return [
        {
            "name": distro.name,
            "title": distro.title,
            "builder": distro.builder,
            "release": distro.release,
            "architectures": list(distro.architectures),
            "package_names": distro.names,
        }
        for distro in catalogue.distros.values()
    ]


def tee_rows(catalogue: Catalogue) -> list[Row]:
    """Return the TEEs, those that are not supported with the reason."""
    return [
        {
            "name": tee.name,
            "title": tee.title,
            "architectures": list(tee.architectures),
            "supported": tee.reason is None,
            "reason": tee.reason,
        }
        for tee in catalogue.tees.values()
    ]


def cloud_rows(catalogue: Catalogue) -> list[Row]:
    """Return the clouds and the TEEs that they offer."""
    return [
        {
            "name": cloud.name,
            "title": cloud.title,
            "architectures": list(cloud.architectures),
            "boots": list(cloud.boots),
            "tees": [name for name, tee in cloud.tees.items() if tee.reason is None],
        }
        for cloud in catalogue.clouds.values()
    ]


def firmware_rows(catalogue: Catalogue) -> list[Row]:
    """Return the firmware builds that have a name."""
    return [
        {
            "name": firmware.name,
            "title": firmware.title,
            "package": firmware.package,
            "suite": firmware.suite,
            "path": firmware.path,
            "snp": firmware.snp,
            "tdx": firmware.tdx,
            "kernel_hashes": firmware.kernel_hashes,
            "secure_boot": firmware.secure_boot,
            "known": list(firmware.known),
        }
        for firmware in catalogue.firmware.values()
    ]


def instance_rows(instances: Iterable[Instance]) -> list[Row]:
    """Return instance types."""
    return [
        {
            "name": f"{instance.cloud}:{instance.name}",
            "tee": instance.tee,
            "vcpus": instance.vcpus,
            "cpu": instance.cpu,
            "predicted": instance.not_predicted is None,
            "reason": instance.not_predicted,
            "certainty": instance.certainty,
            "source": instance.source,
        }
        for instance in instances
    ]


def table(rows: Iterable[Row], columns: Mapping[str, str]) -> str:
    """Return rows as an aligned table.

    Args:
        rows: what to show.
        columns: key of the row to heading, in order; the last column may be of any width.
    """
    cells = [list(columns.values()), *([printable(_cell(row[key])) for key in columns] for row in rows)]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns) - 1)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[-1]]).rstrip()
        for line in cells
    )


def _cell(value: Any) -> str:
    if value is None or value == []:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
