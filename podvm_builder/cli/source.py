"""TARGET or PROFILE and the options that change it: from the command line to plans, for every command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from podvm_builder.cli.place import say
from podvm_builder.errors import InputError, Place
from podvm_builder.tools.inputs import open_input
from podvm_builder.tools.unreadable import unreadable

if TYPE_CHECKING:
    from podvm_builder.guest.config import Document
    from podvm_builder.model.axes import Target
    from podvm_builder.model.components import ComponentLock, GuestComponents
    from podvm_builder.model.plan import Plan
    from podvm_builder.model.recipe import RecipeTree
    from podvm_builder.planning.profile import Profile

_MAX_BYTES = 512 * 1024
"""More than any profile that the reader takes, so that it says that one is too large."""
_MAX_COMPONENT = 512 * 1024 * 1024


def source_argument(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument ``source``."""
    return click.argument("source", metavar="TARGET|PROFILE", shell_complete=_complete)(function)


def set_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option ``--set`` as ``sets``."""
    return click.option(
        "--set",
        "sets",
        multiple=True,
        metavar="PATH=VALUE",
        help="Change a setting as a profile would; += and -= edit lists. May be given several times.",
    )(function)


def input_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--components`` and ``--firmware``, whose paths may be anywhere."""
    function = click.option("--firmware", metavar="NAME|FILE", help="Firmware to predict for.")(function)
    return click.option("--components", metavar="LOCK|DIR|selftest|none", help="The guest's programs.")(function)


def builder_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option ``--builder``; None for each distribution's own."""
    return click.option(
        "--builder", type=click.Choice(["mkosi", "packer"]), help="What builds the image.  [default: by distribution]"
    )(function)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What a command works on."""

    plans: tuple[Plan, ...]
    components: GuestComponents | None
    """The guest's programs; None where a lock says them: see :meth:`load`."""
    lock: ComponentLock | None
    lock_folder: Path
    """What paths in the lock are relative to."""
    documents: tuple[Document, ...]
    """The guest's documents that the profile names."""
    baked: RecipeTree
    """Those of them that become part of the image: path in it, without the leading slash, to file."""
    base: Path
    """The folder that relative paths in the plans are relative to."""
    target: bool
    """Whether a target was named, which is one plan, and not a profile, which may grow to several."""

    def load(self, cache: Path) -> GuestComponents:
        """Return the guest's programs, and the documents that are baked.

        Programs of a lock are fetched, where they are not in the cache, and verified.

        Raises:
            PodvmError: one cannot be had, or is not what the lock says.
        """
        found = self.components if self.components is not None else self._fetch(cache)
        return replace(found, files={**found.files, **self.baked})

    def _fetch(self, cache: Path) -> GuestComponents:
        from podvm_builder.build.components.loading import load_lock
        from podvm_builder.cli.components_place import supplier

        assert self.lock is not None  # noqa: S101 - one of them is there
        with supplier(self.lock_folder, cache) as reached:
            return load_lock(self.lock, reached, say=say)


def resolve(
    source: str,
    sets: Sequence[str] = (),
    *,
    components: str | None = None,
    firmware: str | None = None,
    builder: str | None = None,
) -> Resolved:
    """Turn arguments into plans.

    Raises:
        InputError, InputErrors: the source or an option is wrong.
    """
    from podvm_builder.catalog.load import catalogue
    from podvm_builder.cli.documents import load_documents
    from podvm_builder.guest.config import baked_files
    from podvm_builder.guest.payload import payload_identity
    from podvm_builder.model.axes import Target
    from podvm_builder.model.recipe import RecipeFile
    from podvm_builder.planning.ask import chosen_components, chosen_documents
    from podvm_builder.planning.identity import components_digest
    from podvm_builder.planning.make import make_plans
    from podvm_builder.supply.fit import check_fit

    known = catalogue()
    asked, base = read_source(source)
    chosen = components if components is not None else chosen_components(asked, known, sets)
    found = find_components(chosen, Path.cwd() if components is not None else base, anywhere=components is not None)
    named = chosen_documents(asked, known, sets)
    documents = load_documents(named, base)
    baked = {path: RecipeFile(data=data) for path, data in baked_files(documents, named.bake).items()}
    if firmware is not None and firmware not in known.firmware:
        firmware = str(Path(firmware).resolve())
    plans = make_plans(
        asked,
        known,
        sets,
        components_digest=components_digest(payload_identity({**found.identity, **baked})),
        components=components if components in (None, "selftest", "none") else str(Path(components).resolve()),
        firmware=firmware,
        builder=builder,
    )
    if found.lock is not None:
        for plan in plans:
            check_fit(found.lock, plan)
    return Resolved(
        plans=plans,
        components=found.components,
        lock=found.lock,
        lock_folder=found.folder,
        documents=documents,
        baked=baked,
        base=base,
        target=isinstance(asked, Target),
    )


def read_source(text: str) -> tuple[Profile | Target, Path]:
    """Read a target or a profile; return it with the folder that its paths are relative to."""
    from podvm_builder.model.axes import Target

    path = Path(text)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        from podvm_builder.planning.profile import parse_profile

        return parse_profile(read_profile(path), file=text), path.absolute().parent
    return Target.parse(text), Path.cwd()


def read_profile(path: Path) -> str:
    """Read a profile's text.

    Raises:
        InputError: it cannot be read, is too large, or is not UTF-8.
    """
    place = Place(file=str(path))
    try:
        with open_input(path, what="the profile", code="PVB121", place=place) as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise unreadable(path, error, what="the profile", code="PVB121", place=place) from None
    if len(data) > _MAX_BYTES:
        raise InputError(f"the profile is larger than {_MAX_BYTES} bytes", code="PVB109", place=place)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"the profile is not UTF-8 (byte {error.start})",
            code="PVB121",
            place=Place(file=str(path), line=line),
            hint="save it as UTF-8 text",
        ) from None


def inside(base: Path, value: str) -> Path:
    """Return a profile's path, followed through symbolic links, if it stays in the profile's folder.

    Raises:
        InputError: it leads out of the folder (PVB113).
    """
    path = (base / value).resolve()
    if not path.is_relative_to(base.resolve()):
        raise InputError(f"`{value}` leads out of the profile's folder, to `{path}`", code="PVB113")
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundComponents:
    """The components that were chosen: at hand, or in a lock."""

    identity: RecipeTree
    """What of them enters ``rootfs_id``."""
    components: GuestComponents | None
    lock: ComponentLock | None
    folder: Path


def find_components(name: str, base: Path, *, anywhere: bool) -> FoundComponents:
    """Find the components that a choice means.

    Args:
        name: ``selftest``, ``none``, or the path of a lock or of a folder that holds the components by name.
        base: what a relative path is relative to.
        anywhere: whether the path may lead out of ``base``.

    Raises:
        InputError: the lock, the folder or a file cannot be read (PVB122), leads out of ``base`` (PVB113), the folder
            does not hold the guest's components (PVB401, PVB402), or the lock is none that can be used.
    """
    from podvm_builder.guest.components import SELFTEST, selftest, unlocked_components

    path = base / name if anywhere or name in (SELFTEST, "none") else inside(base, name)
    if name == SELFTEST:
        found = unlocked_components(selftest(), source=SELFTEST)
    elif name == "none":
        found = unlocked_components({}, source="none")
    elif path.is_file():
        from podvm_builder.build.components.loading import lock_identity
        from podvm_builder.cli.components_place import read_lock

        lock = read_lock(path)
        return FoundComponents(identity=lock_identity(lock), components=None, lock=lock, folder=path.parent)
    else:
        found = unlocked_components(_read_folder(path, None if anywhere else base), source=str(path.resolve()))
    return FoundComponents(identity=found.identity, components=found, lock=None, folder=base)


def _read_folder(folder: Path, base: Path | None) -> RecipeTree:
    """Read the programs of a folder; none of them may be a link that leads out of ``base``, if that is given."""
    from podvm_builder.guest.components import place_components
    from podvm_builder.model.components import PROGRAM_MODE
    from podvm_builder.model.recipe import RecipeFile

    try:
        names = [path.name for path in folder.iterdir()]
    except OSError as error:
        raise InputError(
            f"cannot read the components in `{folder}`: {error.strerror}",
            code="PVB122",
            hint="`--components` takes a lock, a folder that holds the programs by name, `selftest`, or `none`",
        ) from None
    places = place_components(names, folder=str(folder))
    found = {path: folder / file if base is None else inside(base, str(folder / file)) for file, path in places.items()}
    return {path: RecipeFile(data=_component(source), mode=PROGRAM_MODE) for path, source in found.items()}


def _component(path: Path) -> bytes:
    try:
        with open_input(path, code="PVB122") as file:
            data = file.read(_MAX_COMPONENT + 1)
    except OSError as error:
        raise InputError(f"cannot read `{path}`: {error.strerror}", code="PVB122") from None
    if not data or len(data) > _MAX_COMPONENT:
        what = f"larger than {_MAX_COMPONENT} bytes" if data else "empty"
        raise InputError(f"the component `{path}` is {what}", code="PVB122")
    return data


def _complete(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from podvm_builder.catalog.load import catalogue
    from podvm_builder.planning.support import every_target, why_not

    known = catalogue()
    targets = [str(target) for target in every_target(known) if why_not(target, known) is None]
    profiles = [str(path) for path in Path().glob("*.yaml")]
    return [name for name in (*targets, *profiles) if name.startswith(incomplete)]
