"""The build: a plan becomes an output folder, whole or not at all."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from podvm_builder.build.linking import check_linking
from podvm_builder.build.lint import lint_build
from podvm_builder.build.mkosi import Conditions, Inputs, run_mkosi
from podvm_builder.build.outputs import collect, make_manifest, read_packages, settle
from podvm_builder.build.progress import Steps
from podvm_builder.build.reuse import LOG, find_image, take_image
from podvm_builder.catalog.load import catalogue
from podvm_builder.errors import Finding, InputError, Lacking
from podvm_builder.formats.documents import measurements_to_json
from podvm_builder.formats.manifest import manifest_to_json
from podvm_builder.guest.linking import check_program
from podvm_builder.measure.image import measure_image
from podvm_builder.model.components import PROGRAM_MODE, GuestComponents
from podvm_builder.model.layout import MANIFEST, MEASUREMENTS, RAW, UKI
from podvm_builder.model.lint import LintReport
from podvm_builder.model.manifest import ImageManifest, PackageRecord
from podvm_builder.model.measurement import MeasurementSet
from podvm_builder.model.plan import Plan
from podvm_builder.model.recipe import RecipeTree
from podvm_builder.recipes.mkosi import render
from podvm_builder.refvalues import ExportRequest, export_all
from podvm_builder.refvalues.admission import allowances
from podvm_builder.report.lint import notes
from podvm_builder.report.page import page
from podvm_builder.report.refvalues import notice
from podvm_builder.report.sbom import sbom
from podvm_builder.tools.cache import layer_date, layer_folder, layer_lock, prune_layers, work_folder
from podvm_builder.tools.files import FileReader, hashing_threads, replace_folder, write_atomic, writing
from podvm_builder.tools.firmware import NotAtHand, get_firmware
from podvm_builder.tools.lock import Held, lock
from podvm_builder.tools.mirror import Mirrors, find_mirrors
from podvm_builder.tools.sandbox import remove
from podvm_builder.tools.tree import ToolsTree, ensure_tree

STEPS = ("tools", "render", "mkosi", "lint", "inspect", "measure", "export")
"""The steps of a build, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Inputs of a build that its plan does not hold; none of them shows in the image."""

    out: Path
    """The folder that holds a folder for each target."""
    cache: Path
    base: Path
    """What a relative path of a firmware is relative to."""
    mirror: str | None = None
    """URI of the Debian archive, where the user gave one."""
    fresh: bool = False
    """Whether the image is made anew with the archive's newest packages, instead of taken from the output folder or
    made from an earlier build's layer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A build that is there whole."""

    folder: Path
    manifest: ImageManifest
    measurements: MeasurementSet
    reference_values: tuple[Path, ...]
    """Files for verifiers; empty where nothing can be promised."""
    no_reference_values: str
    """Why there are none; empty where there are."""
    linted: LintReport
    recipe: RecipeTree
    tree: ToolsTree
    mirrors: Mirrors


def require_uki(plan: Plan) -> None:
    """Refuse a plan whose image has no UKI: everything after mkosi reads what is measured from there.

    Raises:
        InputError: PVB127.
    """
    arch = catalogue().architectures[plan.target.arch]
    if arch.loader != "uki":
        raise InputError(
            f"`build` makes no images for {arch.title} yet: they are started by {arch.loader}, not by a UKI",
            code="PVB127",
            hint=f"`podvm-build render {plan.target} -o DIR` writes the recipe, which mkosi builds",
        )


def build_image(plan: Plan, components: GuestComponents, *, options: Options, steps: Steps) -> Built:
    """Build a plan's image, measure it, and export its reference values.

    Everything is made beside the output folder, which is replaced in one step at the end: whatever happens before
    leaves the former output as it was.

    Args:
        plan: what to build.
        components: the guest's programs.
        options: where, and with what help.
        steps: shows the progress of :data:`STEPS`.

    Raises:
        Finding: PVB800, the image has lint findings.
        BuildFailed: PVB410, mkosi failed; PVB413, it made something else.
        Lacking: the machine lacks a program, a right or space; PVB411, another process builds the same folder.
        RemoteError: PVB302, a package mirror refused or did not answer.
        InputError: PVB127, the architecture has no UKI.
        InputError: PVB744 or PVB745, a component is no program, or one for another processor.
        Finding: PVB758, a component lacks a library that it is linked with.
        InputError: the plan cannot be rendered or measured.
    """
    require_uki(plan)
    for path, file in components.files.items():
        if file.mode == PROGRAM_MODE:
            check_program(file.data, what=f"/{path}", arch=plan.target.arch)
    folder = options.out / plan.folder
    log = options.out / f"{plan.folder}.mkosi.log"
    with writing(options.out):
        options.out.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        with steps.step("tools"):
            tree = ensure_tree(cache=options.cache, progress=steps.say, mirror=options.mirror)
            mirrors = find_mirrors(options.mirror, suite=plan.distro.release)
            known = mirrors.archive if plan.distro.name == "debian" else None
            steps.say(f"packages come from {known or 'the default mirror'}, by {mirrors.origin if known else 'mkosi'}")
        with steps.step("render"):
            recipe = render(plan, components.files)
        new = options.out / f".{plan.folder}.new-{secrets.token_hex(4)}"
        try:
            with writing(new):
                new.mkdir()
            with steps.step("mkosi"):
                packages = _image(
                    plan,
                    recipe,
                    folder=folder,
                    new=new,
                    log=log,
                    tree=tree,
                    mirrors=mirrors,
                    options=options,
                    steps=steps,
                )
            with steps.step("lint"):
                # first, as its message names the component and where it came from
                for note in check_linking(new / RAW, components):
                    steps.note(note)
                linted = lint_build(plan, new)
                for line in notes(linted):
                    steps.note(line)
            with steps.step("inspect"):
                manifest = make_manifest(
                    plan, recipe, folder=new, packages=packages, components=components.records, tree=tree
                )
                _write_json(new / MANIFEST, manifest_to_json(manifest))
            with steps.step("measure"):
                firmware = _firmware(plan, tree=tree, options=options, mirrors=mirrors, steps=steps)
                measurements = measure(new, manifest, firmware)
                _write_json(new / MEASUREMENTS, measurements_to_json(measurements))
            with steps.step("export"):
                names, why_none = _export(new, measurements)
                _write_json(new / "sbom.cdx.json", sbom(manifest, distribution=plan.distro.os_id))
                write_atomic(new / "report.html", page(manifest, measurements, linted).encode())
                if log.exists():
                    with writing(new):
                        (new / LOG).parent.mkdir()
                        log.rename(new / LOG)
                settle(new)
                former = replace_folder(new, folder)
                if former is not None:
                    remove(former)
        finally:
            remove(new)
    return Built(
        folder=folder,
        manifest=manifest,
        measurements=measurements,
        reference_values=tuple(folder / "reference-values" / name for name in names),
        no_reference_values=why_none,
        linted=linted,
        recipe=recipe,
        tree=tree,
        mirrors=mirrors,
    )


def _image(
    plan: Plan,
    recipe: RecipeTree,
    *,
    folder: Path,
    new: Path,
    log: Path,
    tree: ToolsTree,
    mirrors: Mirrors,
    options: Options,
    steps: Steps,
) -> tuple[PackageRecord, ...]:
    """Put the image into the new folder and return its packages: the former build's if it is the same, else mkosi's."""
    same = None if options.fresh else find_image(folder, recipe, tree)
    if same is not None:
        steps.say("the output folder holds this very image; --fresh builds it anew")
        log.unlink(missing_ok=True)
        take_image(folder, new)
        return same.packages
    with work_folder(options.cache) as work, _layer(plan, options, steps):
        made = run_mkosi(
            inputs_of(plan, recipe),
            tree=tree,
            cache=options.cache,
            work=work,
            mirrors=mirrors,
            log=log,
            conditions=Conditions(),
            progress=steps.say,
        )
        collect(made, new)
        return read_packages(made)


def inputs_of(plan: Plan, recipe: RecipeTree) -> Inputs:
    """Return what mkosi is given for a plan."""
    return Inputs(
        recipe=recipe,
        distribution=plan.distro.name,
        release=plan.distro.release,
        repositories=plan.distro.repositories,
        layer=plan.ids.rootfs,
    )


def measure(folder: Path, manifest: ImageManifest, firmware: Mapping[str, bytes]) -> MeasurementSet:
    """Predict the registers of the image in a folder.

    Raises:
        FormatError, InputError: as :func:`podvm_builder.measure.image.measure_image`.
    """
    with FileReader(folder / RAW) as image, FileReader(folder / UKI) as uki:
        return measure_image(manifest, image=image, uki=uki, firmware=firmware, workers=hashing_threads())


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a target's output folder against other builds of it."""
    with ExitStack() as stack:
        try:
            stack.enter_context(lock(folder.with_name(f".{folder.name}.lock")))
        except Held as held:
            who = f"process {held.pid}" if held.pid else "another process"
            raise Lacking(
                f"{who} is building `{folder}`", code="PVB411", hint="wait for it, or give another folder with -o"
            ) from None
        for left in folder.parent.glob(f".{folder.name}.new-*"):
            # a build that was killed left it; nobody else is at this folder
            remove(left)
        yield


@contextmanager
def _layer(plan: Plan, options: Options, steps: Steps) -> Iterator[None]:
    """Hold the package layer of a plan's root; builds of other targets with the same root wait for it."""

    def waiting(pid: int | None) -> None:
        steps.say(f"waiting for process {pid or '?'}, which uses the same package layer")

    with lock(layer_lock(options.cache, plan.ids.rootfs), wait=waiting):
        folder = layer_folder(options.cache, plan.ids.rootfs)
        if options.fresh:
            remove(folder)
        elif (made := layer_date(folder)) is not None:
            steps.say(f"packages are those of {made:%Y-%m-%d %H:%M} UTC; --fresh takes the archive's newest")
        yield
        prune_layers(options.cache, plan.ids.rootfs)


def _firmware(plan: Plan, *, tree: ToolsTree, options: Options, mirrors: Mirrors, steps: Steps) -> dict[str, bytes]:
    """Return the firmware of a plan's platform by its name there; empty where there is none or it is not at hand."""
    name = plan.platform.firmware
    if not name:
        return {}
    found = get_firmware(name, base=options.base, tree=tree, cache=options.cache, mirrors=mirrors, progress=steps.say)
    if isinstance(found, NotAtHand):
        steps.note(f"firmware {name} is not at hand, so nothing is computed from it: {found.reason}")
        return {}
    known = "a build that the catalogue knows" if found.known else "no build that the catalogue knows"
    steps.say(f"firmware {name}: sha256:{found.sha256}, {known}")
    return {name: found.data}


def _export(folder: Path, measurements: MeasurementSet) -> tuple[tuple[str, ...], str]:
    """Write the reference values in every form; return the files' names, or why there are none."""
    try:
        # a build is no publication: the folder says of itself what its image is not fit for
        allowed = allowances(measurements.flags)
        request = ExportRequest(measurements=measurements, allow=allowed)
        files = {"NOTICE.txt": notice(request.values(), allowed).encode(), **export_all(request)}
    except Finding as finding:
        return (), finding.message
    for name, data in files.items():
        write_atomic(folder / "reference-values" / name, data)
    return tuple(files), ""


def _write_json(path: Path, document: Mapping[str, object]) -> None:
    write_atomic(path, (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode())
