"""What the user asks for: a profile or target, with what the command line changes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from podvm_builder.catalog.entries import Catalogue
from podvm_builder.catalog.settings import Edit, Fragment, Op
from podvm_builder.errors import InputErrors, Place
from podvm_builder.model.axes import Target
from podvm_builder.model.plan import POLICIES
from podvm_builder.planning import rules
from podvm_builder.planning.merge import merge
from podvm_builder.planning.profile import AXES, Profile, profile_of
from podvm_builder.planning.sets import parse_sets


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The user's side of a plan."""

    profile: Profile
    """With the axes as the command line changed them."""
    fragments: tuple[Fragment, ...]
    """The user's layers, in the order in which they are merged after the catalogue's."""
    builder: str | None = None
    """What ``--builder`` chose; None for each distribution's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The documents of the guest that a profile names."""

    files: tuple[tuple[str, str, Place], ...]
    """The last part of the setting, the path beside the profile, and where it is named."""
    bake: tuple[str, ...]


def chosen_components(source: Profile | Target, catalogue: Catalogue, sets: Sequence[str] = ()) -> str:
    """Return the components that a profile or target chooses: a set's name, or a path beside the profile.

    Raises:
        InputError, InputErrors: as ``planning.make.make_plans``.
    """
    asked = ask(source, catalogue, sets)
    edits = [*catalogue.defaults, *(edit for fragment in asked.fragments for edit in fragment.edits)]
    return str([edit.value for edit in edits if edit.key == "components"][-1])


def chosen_documents(source: Profile | Target, catalogue: Catalogue, sets: Sequence[str] = ()) -> Chosen:
    """Return the documents of the guest that a profile or target names.

    Raises:
        InputError, InputErrors: as ``planning.make.make_plans``.
    """
    asked = ask(source, catalogue, sets)
    own = [
        replace(fragment, edits=tuple(edit for edit in fragment.edits if edit.key.startswith("guest.")))
        for fragment in asked.fragments
    ]
    merged = merge([Fragment(layer="default", edits=catalogue.defaults), *own])
    files = [(kind, merged.text(f"guest.{kind}")) for kind in ("aa", "cdh", "registries", "client_ca", "ssh_key")]
    files += [("ca_certificates", path) for path in merged.words("guest.ca_certificates")]
    if merged.text("guest.policy") not in POLICIES:
        files.append(("policy", merged.text("guest.policy")))
    return Chosen(
        files=tuple((kind, path, merged.places[f"guest.{kind}"]) for kind, path in files if path),
        bake=merged.words("guest.bake"),
    )


def ask(
    source: Profile | Target,
    catalogue: Catalogue,
    sets: Sequence[str] = (),
    *,
    components: str | None = None,
    firmware: str | None = None,
    builder: str | None = None,
) -> Asked:
    """Put a profile or target and the command line together; arguments as ``planning.make.make_plans``.

    Raises:
        InputError, InputErrors: a name does not exist, or a ``--set`` is wrong.
    """
    if isinstance(source, Target):
        profile = profile_of(source)
        errors = [
            rules.unknown_name(axis, choice.name, choice.place, catalogue)
            for axis in AXES
            for choice in profile.axes[axis]
        ]
        errors += [
            rules.unknown_name("features", name, Place(file="command line"), catalogue) for name in source.features
        ]
        found = tuple(error for error in errors if error is not None)
        if found:
            raise InputErrors(found)
    else:
        profile = source
    fragments = [Fragment(layer=f"profile {profile.name}", edits=profile.edits)] if profile.edits else []
    for parts in parse_sets(sets, catalogue):
        profile = replace(
            profile,
            name=parts.name or profile.name,
            axes={**profile.axes, **parts.axes},
            features=profile.features if parts.features is None else parts.features,
            exclude=profile.exclude if parts.exclude is None else parts.exclude,
            suppressions=profile.suppressions if parts.suppressions is None else parts.suppressions,
        )
        fragments.append(Fragment(layer="--set", edits=parts.edits))
    for option, key, value in (
        ("--components", "components", components),
        ("--firmware", "platform.firmware", firmware),
    ):
        if value is not None:
            edit = Edit(key=key, op=Op.SET, value=value, place=Place(file=option))
            fragments.append(Fragment(layer=option, edits=(edit,)))
    return Asked(profile=profile, fragments=tuple(fragments), builder=builder)
