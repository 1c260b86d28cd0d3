"""What values mean and whether they can work: one small rule a setting, applied wherever a user gives a value."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import PurePosixPath

from podvm_builder.catalog.cpus import SIGNATURES
from podvm_builder.catalog.entries import Catalogue
from podvm_builder.catalog.settings import Edit, Item, Op
from podvm_builder.errors import InputError, Place
from podvm_builder.model.fact import FACTS
from podvm_builder.model.plan import BAKEABLE, POLICIES

MAX_VCPUS = 512
CMDLINE_MAX = 2048
"""``COMMAND_LINE_SIZE`` of x86 Linux, its terminating NUL included."""
ROOTHASH_LENGTH = len(" roothash=") + 64
COMPONENT_SETS = ("selftest", "none")

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_HOSTNAME_LABEL = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?")
# Debian policy 5.6.1 and 5.6.12, the stricter rule of the formats; RPM allows capitals and underscores
_PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]+(?::[a-z0-9]+)?(?:=[A-Za-z0-9.+:~^_-]+)?")
_UNIT = re.compile(
    r"[A-Za-z0-9:_.\\@-]{1,240}\.(?:service|socket|path|target|timer|mount|automount|swap|device|slice|scope)"
)
_CMDLINE_WORD = re.compile(r"[!-~]+")
_OWN_WORDS = ("roothash", "usrhash")


def unknown_name(axis: str, name: str, place: Place, catalogue: Catalogue) -> InputError | None:
    """Return the error about a name that the catalogue does not have on an axis."""
    known: dict[str, Collection[str]] = {
        "distro": catalogue.distros,
        "tee": catalogue.tees,
        "cloud": catalogue.clouds,
        "arch": catalogue.architectures,
        "variant": catalogue.variants,
        "features": catalogue.features,
    }
    word = {"distro": "distribution", "tee": "TEE", "arch": "architecture", "features": "feature"}.get(axis, axis)
    return None if name in known[axis] else unknown(word, name, known[axis], place)


def unknown(word: str, name: str, known: Iterable[str], place: Place) -> InputError:
    """Return the error about a name that is not among those known."""
    names = list(known)
    near = get_close_matches(name, names, n=1)
    if near:
        place = replace(place, note=f"did you mean `{near[0]}`?")
    listed = ", ".join(names) if names else "there is none yet"
    return InputError(f"unknown {word} `{name}`", code="PVB102", place=place, hint=None if near else f"known: {listed}")


def check_name(name: str, place: Place) -> InputError | None:
    """Return the error about a profile's name: it becomes part of file names."""
    if _NAME.fullmatch(name):
        return None
    return _invalid(f"`{name}` is no profile name", "lower-case letters, digits and dashes, at most 63", place)


def check_edit(edit: Edit, catalogue: Catalogue) -> list[InputError]:
    """Return the errors about values of an edit that cannot work; what is removed need not be sound."""
    if edit.op is Op.REMOVE or isinstance(edit.value, bool):
        return []
    if isinstance(edit.value, dict):
        return [error for unit in edit.value if (error := _unit(unit, edit.place)) is not None]
    if edit.value == () and edit.key in ("platform.vcpus", "platform.boot"):
        return [_invalid(f"`{edit.key}` is empty", "there must be something to predict for", edit.place)]
    items = edit.value if isinstance(edit.value, tuple) else (edit.value,)
    errors: list[InputError] = []
    for item, place in zip(items, edit.item_places or [edit.place] * len(items), strict=True):
        if edit.key in ("platform.firmware", "platform.cpus"):
            error = _known_name(edit.key, str(item), place, catalogue)
        elif edit.key.startswith("trust."):
            error = _fact(edit.key.removeprefix("trust."), item, place)
        else:
            rule = _RULES.get(edit.key)
            error = rule(item, place) if rule else None
        if error is not None:
            errors.append(error)
    return errors


def is_path(firmware: str, catalogue: Catalogue) -> bool:
    """Return whether a firmware setting is a path rather than a name of the catalogue."""
    return firmware not in catalogue.firmware and ("/" in firmware or "." in firmware)


def _known_name(key: str, name: str, place: Place, catalogue: Catalogue) -> InputError | None:
    if key == "platform.cpus":
        return None if name in SIGNATURES else unknown("CPU model", name, SIGNATURES, place)
    if is_path(name, catalogue):
        return _inside(name, place, "--firmware")
    # the empty text stands for a firmware that the cloud provides
    return None if name in catalogue.firmware or not name else unknown("firmware", name, catalogue.firmware, place)


def _inside(path: str, place: Place, option: str | None) -> InputError | None:
    parts = PurePosixPath(path)
    if not parts.is_absolute() and ".." not in parts.parts and path.isprintable() and "\\" not in path:
        return None
    return InputError(
        f"`{path}` is outside the profile's folder",
        code="PVB113",
        place=place,
        hint="put it beside the profile and name it relative to it"
        + (f", or give it with `{option}`" if option else ""),
    )


def _components(item: Item, place: Place) -> InputError | None:
    if item == "":
        return _invalid("`components` is empty", "write `none` for an image without components", place)
    return None if item in COMPONENT_SETS else _inside(str(item), place, "--components")


def _cmdline(item: Item, place: Place) -> InputError | None:
    word = str(item)
    if not _CMDLINE_WORD.fullmatch(word):
        return _invalid(
            f"{word!r} is not one word of a command line",
            "printable ASCII without spaces; every word is an item of its own",
            place,
        )
    if word.partition("=")[0] in _OWN_WORDS:
        return _invalid(f"`{word}` cannot be given", "the build appends the root hash of the image that it made", place)
    return None


def _pattern(item: Item, place: Place) -> InputError | None:
    text = str(item)
    problem = "it contains a space or a comma" if re.search(r"[\s,]", text) or not text else None
    if problem is None:
        try:
            re.compile(text)
        except (re.error, RecursionError, OverflowError) as error:
            problem = str(error)
    if problem is None:
        return None
    return _invalid(f"`{text}` is no pattern of module paths: {problem}", "a regular expression", place)


def _package(item: Item, place: Place) -> InputError | None:
    if _PACKAGE.fullmatch(str(item)):
        return None
    return _invalid(f"`{item}` is no package name", "`name` or `name=version`", place)


def _removal(item: Item, place: Place) -> InputError | None:
    path = PurePosixPath(str(item))
    if path.is_absolute() and ".." not in path.parts and len(path.parts) > 1 and re.fullmatch(r"[!-+\--~]+", str(item)):
        return None
    return _invalid(f"`{item}` is no path to remove", "absolute, without `..`, spaces or commas; globs allowed", place)


def _hostname(item: Item, place: Place) -> InputError | None:
    name = str(item)
    # hostname(7) and Linux' HOST_NAME_MAX
    if len(name) <= 64 and all(_HOSTNAME_LABEL.fullmatch(label) for label in name.split(".")):
        return None
    return _invalid(f"`{name}` is no host name", "letters, digits and dashes, at most 64 characters", place)


def _vcpus(item: Item, place: Place) -> InputError | None:
    if isinstance(item, int) and 1 <= item <= MAX_VCPUS:
        return None
    return _invalid(f"`{item}` is no number of vCPUs", f"between 1 and {MAX_VCPUS}", place)


def _guest_features(item: Item, place: Place) -> InputError | None:
    # SEV_FEATURES, AMD publication 24593, table B-4: bit 0 is SNPActive
    if isinstance(item, int) and 0 < item < 1 << 64 and item & 1:
        return None
    return _invalid(f"`{item}` is no SEV_FEATURES value of an SNP guest", "64 bits, of which bit 0 is set", place)


def _registry_auth(item: Item, place: Place) -> InputError | None:
    # kbs:///<repository>/<type>/<tag>, guest-components' resource URI
    if item == "delivered" or re.fullmatch(r"kbs://[A-Za-z0-9.:-]*(?:/[A-Za-z0-9._-]+){3}", str(item)):
        return None
    return _invalid(
        f"`{item}` names no registry credentials", "`delivered`, or e.g. `kbs:///default/credential/registry`", place
    )


def _document(item: Item, place: Place) -> InputError | None:
    return _inside(str(item), place, None) if item != "" else None


def _policy(item: Item, place: Place) -> InputError | None:
    if item in POLICIES:
        return None
    if str(item).endswith(".rego"):
        return _document(item, place)
    return _invalid(f"`{item}` is no policy", f"{', '.join(POLICIES)}, or a file `NAME.rego`", place)


def _bakeable(item: Item, place: Place) -> InputError | None:
    if item in BAKEABLE:
        return None
    return _invalid(f"`{item}` cannot be baked by choice", f"`guest.bake` takes {', '.join(BAKEABLE)}", place)


def _address(item: Item, place: Place) -> InputError | None:
    try:
        ip_address(str(item))
    except ValueError:
        return _invalid(f"`{item}` is no IP address", "e.g. `9.9.9.9`", place)
    return None


def _port(item: Item, place: Place) -> InputError | None:
    return (
        None if isinstance(item, int) and 1 <= item <= 65535 else _invalid(f"`{item}` is no port", "1 to 65535", place)
    )


def _fact(name: str, item: Item, place: Place) -> InputError | None:
    fact = FACTS[name]
    try:
        read = fact.read(item)
    except ValueError as error:
        return _invalid(f"`{item}` is not {error}", fact.title, place)
    # what is merged and compared is the text itself
    return None if read == item else _invalid(f"`{item}` is not in lower case", fact.title, place)


def _unit(unit: str, place: Place) -> InputError | None:
    return None if _UNIT.fullmatch(unit) else _invalid(f"`{unit}` is no systemd unit", "e.g. `ssh.service`", place)


def _invalid(message: str, hint: str, place: Place) -> InputError:
    return InputError(message, code="PVB117", place=place, hint=hint)


_RULES: dict[str, Callable[[Item, Place], InputError | None]] = {
    "packages": _package,
    "kernel.package": _package,
    "kernel.cmdline": _cmdline,
    "kernel.modules": _pattern,
    "kernel.initrd_modules": _pattern,
    "image.hostname": _hostname,
    "image.remove": _removal,
    "components": _components,
    "guest.policy": _policy,
    "guest.registry_auth": _registry_auth,
    "guest.aa": _document,
    "guest.cdh": _document,
    "guest.registries": _document,
    "guest.client_ca": _document,
    "guest.ca_certificates": _document,
    "guest.ssh_key": _document,
    "guest.bake": _bakeable,
    "guest.fallback_dns": _address,
    "guest.port": _port,
    "platform.vcpus": _vcpus,
    "platform.guest_features": _guest_features,
}
