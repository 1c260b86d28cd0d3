"""Instance types of clouds: how many vCPUs of which model each has, and whose word that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from podvm_builder.catalog.load import ROOT, catalogue_file
from podvm_builder.catalog.rows import Row

CERTAINTIES = ("documented", "background")
"""How sure a fact is: read in the vendor's documentation, or known without having been looked up again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One instance type."""

    name: str
    """As the cloud spells it."""
    cloud: str
    family: str
    tee: str
    vcpus: int
    cpu: str
    """Model, as QEMU names it."""
    vmm: str
    """What measures its launch, as ``measure snp --vmm`` names it."""
    not_predicted: str | None
    """Why its launch digest is not the image owner's to predict; None where it can be predicted."""
    source: str
    certainty: str
    """One of :data:`CERTAINTIES`."""


@cache
def instances() -> Mapping[str, Instance]:
    """Return the instance types that are known, by ``cloud:type``."""
    names = sorted(file.name for file in (files(ROOT) / "instances").iterdir() if file.name.endswith(".yaml"))
    found = [instance for name in names for instance in _cloud(catalogue_file(f"instances/{name}"))]
    return {f"{instance.cloud}:{instance.name}": instance for instance in found}


def _cloud(row: Row) -> list[Instance]:
    row.only("name", "vmm", "not_predicted", "families")
    return [instance for family in row.row_list("families") for instance in _family(row, family)]


def _family(cloud: Row, row: Row) -> list[Instance]:
    row.only("family", "tee", "cpu", "sizes", "source", "certainty")
    if row.text("certainty") not in CERTAINTIES:
        raise row.wrong(f"`certainty` must be one of {', '.join(CERTAINTIES)}")
    sizes = row.row("sizes")
    return [
        Instance(
            name=name,
            cloud=cloud.text("name"),
            family=row.text("family"),
            tee=row.text("tee"),
            vcpus=sizes.number(name),
            cpu=row.text("cpu"),
            vmm=cloud.text("vmm"),
            not_predicted=cloud.maybe("not_predicted"),
            source=row.text("source"),
            certainty=row.text("certainty"),
        )
        for name in sizes.values()
    ]
