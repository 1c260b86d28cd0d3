"""What systemd's units that extend PCRs do, read from the units of an image and what drop-ins change in them.

Specifications: systemd.service(5), systemd-pcrphase.service(8) (units, words, and their place in the initrd or root).
What a setting may do to a unit is not guessed: one that is not known to leave it alone leaves the register without a
value.
"""

from __future__ import annotations

import re

from podvm_builder.errors import FormatError
from podvm_builder.formats.compression import Unsupported
from podvm_builder.formats.unit_file import UnitFile
from podvm_builder.measure.place import Place

OS_SEPARATOR = "systemd-pcrosseparator.service"
NEEDS = "not all that it needs to reach the TPM is there, or no unit asks for it"

_COMMAND = re.compile(r"/(?:usr/)?lib/systemd/systemd-pcr(?:extend|phase) (?:--graceful )?([^-\s%$\"'\\][^\s%$\"'\\]*)")
_SEPARATES = re.compile(r"/(?:usr/)?lib/systemd/systemd-pcrextend --graceful --os-separator")
_CONDITIONS = {
    ("ConditionSecurity", "measured-uki"),
    ("ConditionSecurity", "measured-os"),
    ("ConditionSecurity", "tpm2"),
    ("ConditionPathExists", "/sys/firmware/efi/efivars/StubPcrKernelImage-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"),
}
"""Conditions that hold in an image that systemd-stub started on a machine with a TPM."""
_LATER = {"shutdown.target", "initrd-switch-root.target"}
"""Units that stop these, and come after they have done their work."""
_HARMLESS = {
    "Unit": {
        *("Description", "Documentation", "After", "Before", "Wants", "DefaultDependencies"),
        *("StartLimitIntervalSec", "StartLimitBurst", "FailureAction", "SuccessAction", "OnFailure"),
    },
    "Service": {
        *("Type", "RemainAfterExit", "ExecStart", "ExecStop", "Restart", "RestartSec", "TimeoutSec", "TimeoutStartSec"),
        *("TimeoutStopSec", "StandardOutput", "StandardError", "SyslogIdentifier", "LogLevelMax", "Nice"),
    },
    "Install": {"WantedBy", "RequiredBy", "Alias", "Also"},
}
"""Settings that decide nothing, or that are looked into."""


def phase_words(place: Place, unit: str) -> tuple[str, ...] | str:
    """Return the words that a boot phase unit extends PCR 11 with while the system starts, or why they are not known.

    The unit of the initrd extends a second one when it is stopped, before the root takes over.
    """
    found = _settled(place, unit)
    if isinstance(found, str):
        return found
    start = found.commands("Service", "ExecStart")
    stop = found.commands("Service", "ExecStop") if unit.endswith("-initrd.service") else ()
    words = [match[1] for command in (*start, *stop) if (match := _COMMAND.fullmatch(command))]
    if len(start) != 1 or len(words) != len(start) + len(stop):
        return f"{unit} of the {place.name} does not run systemd-pcrextend as systemd ships it"
    return tuple(words)


def separates(place: Place) -> bool | str:
    """Say whether the initrd extends `os-separator`, or why that is not known."""
    if not place.runs(OS_SEPARATOR):
        return False
    found = _settled(place, OS_SEPARATOR)
    if isinstance(found, str):
        return found
    commands = found.commands("Service", "ExecStart")
    if len(commands) != 1 or not _SEPARATES.fullmatch(commands[0]):
        return f"{OS_SEPARATOR} of the {place.name} does not run systemd-pcrextend as systemd ships it"
    return True


def _settled(place: Place, unit: str) -> UnitFile | str:
    """Return a unit that is certain to run, or why it is not."""
    if not (place.wants(unit) and place.reaches_tpm()):
        return f"{unit} of the {place.name} is there, but {NEEDS}"
    try:
        found = place.unit(unit)
    except (FormatError, Unsupported) as error:
        said = error.message if isinstance(error, FormatError) else str(error)
        return f"{unit} of the {place.name} cannot be read: {said}"
    for section, key, value in found.assignments:
        if _leaves_alone(section, key, value, initrd=place.name == "initrd"):
            continue
        changed = "a drop-in of " if place.drop_ins(unit) else ""
        return f"{changed}{unit} of the {place.name} sets `{key}`, and what follows is not settled here"
    return found


def _leaves_alone(section: str, key: str, value: str, *, initrd: bool) -> bool:
    """Say whether a setting does not keep a unit from doing what its commands say."""
    if section.startswith("X-") or key in _HARMLESS.get(section, ()):
        return True
    if section != "Unit":
        return False
    if key == "Conflicts":
        return set(value.split()) <= _LATER
    return (key, value) in _CONDITIONS or (key, value) == (
        "ConditionPathExists",
        "/etc/initrd-release" if initrd else "!/etc/initrd-release",
    )
