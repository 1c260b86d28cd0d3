"""Running mkosi in the tools tree, its log streamed to a file."""

from __future__ import annotations

import re
import subprocess
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from podvm_builder.build.clock import clock_environment
from podvm_builder.build.failure import failure
from podvm_builder.model.recipe import RecipeTree
from podvm_builder.tools.cache import layer_folder
from podvm_builder.tools.files import writing
from podvm_builder.tools.mirror import Mirrors
from podvm_builder.tools.process import Say, stop
from podvm_builder.tools.sandbox import Bind
from podvm_builder.tools.tree import ToolsTree, require

INSIDE = "/mnt/cache"
"""Where mkosi sees the cache. It is one mount, so that what is put into a layer is renamed and not copied."""

_TAIL = 2000
_CERTIFICATES = "/etc/apt/podvm-build"
_STEP = re.compile(r"^‣ {1,3}(?![( ])(.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """How mkosi is run; none of it may show in the image."""

    incremental: bool = True
    """Whether the package layer is kept for and taken from an earlier build."""
    cached_packages_only: bool = False
    """Whether packages come from the cache alone, as the last build left it."""
    depth: tuple[str, ...] = ()
    """Further folders that the work folder stands in, so that the paths differ."""
    env: Mapping[str, str] | None = None
    cpus: tuple[int, ...] = ()
    days_ahead: int = 0
    """How far the clock that programs of the tools tree see is ahead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What mkosi is given."""

    recipe: RecipeTree
    distribution: str
    release: str
    repositories: tuple[str, ...]
    layer: str
    """Identity of the root file system: the key of its package layer."""


def run_mkosi(
    inputs: Inputs,
    *,
    tree: ToolsTree,
    cache: Path,
    work: Path,
    mirrors: Mirrors,
    log: Path,
    conditions: Conditions,
    progress: Say,
) -> Path:
    """Build an image and return the folder that holds mkosi's output: ``image.raw``, ``image.efi``, ``image.manifest``.

    Args:
        inputs: the recipe and what of the plan the run depends on.
        tree: the tools tree.
        cache: the cache's folder.
        work: a folder of this build below ``cache``.
        mirrors: where packages come from.
        log: file that takes all of mkosi's output.
        conditions: how it is run.
        progress: takes mkosi's steps as they begin.

    Raises:
        BuildFailed: PVB410, with the lines that matter.
        Lacking: PVB321, the disk is full; PVB310-314, the machine does not allow it.
        RemoteError: PVB302, a package mirror refused or did not answer.
    """
    require(tree, "mkosi")
    work = work.joinpath(*conditions.depth)
    out = work / "out"
    with writing(work):
        for folder in (out, work / "workspace", layer_folder(cache, inputs.layer), packages_folder(cache, inputs)):
            folder.mkdir(parents=True, exist_ok=True)
    write_tree(inputs.recipe, work / "recipe")
    write_sandbox(
        work / "sandbox",
        mirrors,
        distribution=inputs.distribution,
        release=inputs.release,
        repositories=inputs.repositories,
    )
    env = dict(conditions.env or {})
    if conditions.days_ahead:
        env |= clock_environment(work / "clock", inside(cache, work / "clock"), days_ahead=conditions.days_ahead)
    args = command(inputs, cache=cache, work=work, conditions=conditions)
    tail: deque[str] = deque(maxlen=_TAIL)
    with writing(log):
        log.parent.mkdir(parents=True, exist_ok=True)
        file = log.open("wb")
    with file:
        process = tree.popen(
            args,
            binds=[Bind(host=cache, inside=INSIDE)],
            cwd=inside(cache, work / "recipe"),
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cpus=conditions.cpus,
        )
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        try:
            for raw in process.stdout:
                with writing(log):
                    file.write(raw)
                    file.flush()
                line = raw.decode(errors="replace").rstrip()
                tail.append(line)
                if step := _STEP.match(line):
                    progress(step[1])
            status = process.wait()
        finally:
            stop(process)
    if status != 0:
        raise failure(list(tail), status=status, log=log)
    return out


def command(inputs: Inputs, *, cache: Path, work: Path, conditions: Conditions) -> list[str]:
    """Return mkosi's command line, with paths as mkosi sees them."""

    return [
        "mkosi",
        f"--directory={inside(cache, work / 'recipe')}",
        f"--sandbox-tree={inside(cache, work / 'sandbox')}",
        "--output=image",
        f"--output-directory={inside(cache, work / 'out')}",
        f"--workspace-directory={inside(cache, work / 'workspace')}",
        f"--package-cache-directory={inside(cache, packages_folder(cache, inputs))}",
        # without `incremental`, mkosi would empty the folder
        *([f"--cache-directory={inside(cache, layer_folder(cache, inputs.layer))}"] if conditions.incremental else []),
        f"--incremental={'yes' if conditions.incremental else 'no'}",
        *(["--cache-only=always"] if conditions.cached_packages_only else []),
        "--force",
        "build",
    ]


def inside(cache: Path, path: Path) -> str:
    """Return a path of the cache as mkosi sees it."""
    return f"{INSIDE}/{path.relative_to(cache)}"


def packages_folder(cache: Path, inputs: Inputs) -> Path:
    """Return where downloaded packages of a release are kept."""
    return cache / "packages" / f"{inputs.distribution}-{inputs.release}"


def write_tree(tree: RecipeTree, folder: Path) -> None:
    """Write a recipe into a new folder; file modes do not depend on the umask.

    Raises:
        Lacking: PVB321 or PVB322.
    """
    with writing(folder):
        folder.mkdir(parents=True)
        for path, file in tree.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.data)
            target.chmod(file.mode)
        for parent in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
            parent.chmod(0o755)


def write_sandbox(
    folder: Path, mirrors: Mirrors, *, distribution: str, release: str, repositories: Sequence[str]
) -> None:
    """Write the files that apt reads in mkosi's sandbox.

    The mirrors are Debian's: other distributions take only the settings, and their packages from mkosi's defaults.

    The source list must be named ``mkosi.sources``: mkosi writes its own, with a debug archive that few mirrors have,
    only where there is none of this name.

    Raises:
        Lacking: PVB321 or PVB322.
    """
    apt = folder / "etc/apt"
    with writing(folder):
        for name in ("sources.list.d", "apt.conf.d", "podvm-build"):
            (apt / name).mkdir(parents=True, exist_ok=True)
        sources = mirrors.deb822(release, repositories) if distribution == "debian" else None
        if sources is not None:
            (apt / "sources.list.d/mkosi.sources").write_text(sources)
        (apt / "apt.conf.d/90podvm-build").write_text(mirrors.apt_conf(_CERTIFICATES))
        for name, path in mirrors.files().items():
            target = apt / "podvm-build" / name
            target.touch(mode=0o600)
            target.write_bytes(Path(path).read_bytes())
