"""Reads what the catalogue knows of one cloud."""

from __future__ import annotations

from podvm_builder.catalog.cloud import Cloud, CloudTee, Drivers, Evidence, MetadataService, PackerCloud, When
from podvm_builder.catalog.rows import Row


def cloud(row: Row) -> Cloud:
    """Return the cloud that a file describes.

    Raises:
        ValueError: the file is not what it should be.
    """
    row.only(
        *(
            "name",
            "title",
            "architectures",
            "boots",
            "metadata",
            "user_data_max",
            "settings",
            "tees",
            "drivers",
            "packer",
            "architecture_settings",
        ),
    )
    return Cloud(
        name=row.text("name"),
        title=row.text("title"),
        architectures=row.texts("architectures"),
        boots=row.texts("boots"),
        metadata=_metadata(row.row("metadata")) if row.has("metadata") else None,
        user_data_max=row.number("user_data_max") if row.has("user_data_max") else None,
        edits=row.row("settings").edits(),
        tees={name: _cloud_tee(tee) for name, tee in row.row("tees").rows()},
        drivers=_drivers(row.row("drivers")),
        packer=_packer_cloud(row.row("packer")) if row.has("packer") else None,
        architecture_edits={name: arch.edits() for name, arch in row.row("architecture_settings").rows()},
    )


def _packer_cloud(row: Row) -> PackerCloud:
    row.only("builder", "architectures", "values", "tees")
    return PackerCloud(
        builder=row.text("builder"),
        architectures=row.texts("architectures"),
        values=row.row("values").values(),
        tees={name: tee.values() for name, tee in row.row("tees").rows()},
    )


def _metadata(row: Row) -> MetadataService:
    row.only("address", "field", "value")
    return MetadataService(address=row.text("address"), field=row.text("field"), value=row.text("value"))


def _drivers(row: Row) -> Drivers:
    row.only("disk", "network")
    return Drivers(disk=row.texts("disk"), network=row.texts("network"))


def _cloud_tee(row: Row) -> CloudTee:
    if row.has("reason"):
        return CloudTee(reason=row.only("reason").text("reason"), evidence=(), edits=())
    row.only("evidence", "settings", "drivers", "per_architecture")
    evidence = tuple(map(_evidence, row.row_list("evidence")))
    if not evidence or evidence[-1].when != When():
        raise row.wrong("the last row of evidence must hold always")
    return CloudTee(
        reason=None,
        evidence=evidence,
        edits=row.row("settings").edits(),
        drivers=row.texts("drivers") if row.has("drivers") else None,
        architecture_edits={name: arch.edits() for name, arch in row.row("per_architecture").rows()},
    )


def _evidence(row: Row) -> Evidence:
    row.only("when", "kind", "promised", "identified_by", "reason", "source")
    when = row.row("when").only("boot", "kernel_hashes", "arch")
    return Evidence(
        when=When(
            boot=when.maybe("boot"),
            kernel_hashes=when.flag("kernel_hashes") if when.has("kernel_hashes") else None,
            arch=when.maybe("arch"),
        ),
        kind=row.text("kind"),
        promised=row.texts("promised"),
        by=row.texts("identified_by"),
        reason=row.text("reason"),
        source=row.text("source"),
        place=row.place,
    )
