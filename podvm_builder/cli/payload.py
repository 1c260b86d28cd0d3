"""``podvm-build payload``: what makes a machine a pod VM, without an image around it."""

from __future__ import annotations

import secrets
from pathlib import Path

import click

from podvm_builder.cli.common import format_option, print_json
from podvm_builder.cli.place import cache_option
from podvm_builder.cli.source import input_options, resolve, set_option, source_argument
from podvm_builder.errors import InputError


@click.command()
@source_argument
@set_option
@input_options
@click.option("-o", "--output", "out", metavar="FILE", type=click.Path(path_type=Path), help="Write a tar.")
@click.option(
    "--oci", metavar="DIR", type=click.Path(path_type=Path), help="Write a container image, as an OCI layout."
)
@cache_option
@format_option
def command(
    *,
    source: str,
    sets: tuple[str, ...],
    components: str | None,
    firmware: str | None,
    out: Path | None,
    oci: Path | None,
    cache: Path | None,
    output_format: str,
) -> None:
    """Write the payload of a target: for a machine that exists already, or as a container image to copy it from.

    The tar unpacks to `podvm/`: `podvm/setup.sh` puts `podvm/root` into the machine and enables its units, or into
    another root file system with `--root DIR`. The image has the same content. The same plan gives the same bytes.
    """
    from podvm_builder.formats.archives import image_layout, tar
    from podvm_builder.guest.linking import check_program
    from podvm_builder.guest.portable import portable
    from podvm_builder.model.components import PROGRAM_MODE
    from podvm_builder.recipes.mkosi import image_name
    from podvm_builder.tools.cache import open_cache
    from podvm_builder.tools.files import write_named

    if out is None and oci is None:
        raise InputError("nothing to write", code="PVB424", hint="give `-o FILE` for a tar, or `--oci DIR`")
    resolved = resolve(source, sets, components=components, firmware=firmware)
    if len(resolved.plans) != 1:
        raise InputError(
            f"`{source}` plans {len(resolved.plans)} targets, and a payload is of one",
            code="PVB424",
            hint="name a target, or give every axis a single value with `--set`",
        )
    (plan,) = resolved.plans
    guest = resolved.load(open_cache(cache) if resolved.lock is not None else Path())
    for place, file in guest.files.items():
        if file.mode == PROGRAM_MODE:
            check_program(file.data, what=f"/{place}", arch=plan.target.arch)
    archive = tar(portable(plan, guest.files), mtime=plan.image.source_date_epoch)
    if out is not None:
        write_named(out, archive)
    if oci is not None:
        labels = {
            "org.opencontainers.image.title": f"{image_name(plan, guest.files)}-payload",
            "target": str(plan.target),
        }
        _write_layout(
            oci,
            image_layout(archive, arch=plan.target.arch, created=plan.image.source_date_epoch, labels=labels),
        )
    written = {"tar": out, "oci": oci}
    if output_format == "json":
        print_json({"target": str(plan.target), **{name: str(path) for name, path in written.items() if path}})
    else:
        for path in written.values():
            if path is not None:
                click.echo(path)


def _write_layout(folder: Path, files: dict[str, bytes]) -> None:
    """Put a layout in the place of a folder that is absent, empty or a layout, in one step."""
    from podvm_builder.tools.files import replace_folder, writing
    from podvm_builder.tools.sandbox import remove

    folder = folder.absolute()
    if (
        folder.exists()
        and not (folder / "oci-layout").is_file()
        and not (folder.is_dir() and not any(folder.iterdir()))
    ):
        raise InputError(
            f"`{folder}` is no OCI layout, and what it holds would be lost",
            code="PVB424",
            hint="name a folder that does not exist yet",
        )
    new = folder.with_name(f".{folder.name}.new-{secrets.token_hex(4)}")
    try:
        with writing(folder):
            for name, data in files.items():
                (new / name).parent.mkdir(parents=True, exist_ok=True)
                (new / name).write_bytes(data)
            former = replace_folder(new, folder)
            if former is not None:
                remove(former)
    finally:
        remove(new)
