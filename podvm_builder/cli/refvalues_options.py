"""What the commands about reference values share: their input, whom the values are for, and what is let pass."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from podvm_builder.cli.input_files import named, read_file
from podvm_builder.model.layout import MEASUREMENTS
from podvm_builder.model.measurement import MeasurementSet
from podvm_builder.refvalues.admission import ALLOWANCES
from podvm_builder.refvalues.facts import parse_facts
from podvm_builder.refvalues.policies import KINDS, POLICIES
from podvm_builder.refvalues.registry import DEFAULTS, TIME, ExportOptions, ExportRequest
from podvm_builder.refvalues.versions import NEWEST, SUPPORTED

LIMIT = 64 << 20
"""Bytes; no document may have more, and its parser says so."""
_ALLOW_HELP = {
    "unbound-image": "Take values that any image passes with.",
    "selftest": "Take an image made with the selftest programs.",
    "debug": "Take a debug image.",
    "unverified": "Take an image whose components were not verified.",
}
_F = TypeVar("_F", bound=Callable[..., Any])


def request_options(command: _F) -> _F:
    """Add the argument MEASUREMENTS and the options that :func:`make_request` takes."""
    return _options(command, click.argument("measurements", type=click.Path(path_type=Path)))


def requests_options(command: _F) -> _F:
    """Add the argument MEASUREMENTS…, one or more, and the options that :func:`make_requests` takes."""
    return _options(command, click.argument("measurements", nargs=-1, required=True, type=click.Path(path_type=Path)))


def retired_options(command: _F) -> _F:
    """Do as :func:`requests_options`, without the options that let something pass: nothing is let in."""
    argument = click.argument("measurements", nargs=-1, required=True, type=click.Path(path_type=Path))
    return _options(command, argument, allowances=())


def compared_options(command: _F) -> _F:
    """Add the arguments A and B, ``left`` and ``right``, and the options that :func:`make_request` takes."""
    for name, metavar in (("right", "B"), ("left", "A")):
        command = click.argument(name, metavar=metavar, type=click.Path(path_type=Path))(command)
    return _options(command, lambda same: same)


def _options(command: _F, argument: Callable[[_F], _F], *, allowances: tuple[str, ...] = ALLOWANCES) -> _F:
    for option in reversed(
        [
            click.option(
                "--trustee",
                default=NEWEST,
                show_default=True,
                metavar="VERSION",
                help=f"Trustee's version, {SUPPORTED[0]} to {SUPPORTED[-1]}.",
            ),
            click.option(
                "--policy",
                type=click.Choice(POLICIES),
                default="default",
                show_default=True,
                help="Which policy reads the values: Trustee's own, its operator's, or that of `--to rego --use-rvps`.",
            ),
            click.option(
                "--evidence",
                metavar="KIND",
                help=f"What the machine sends to Trustee ({', '.join(KINDS)}), where the measurements do not say.",
            ),
            click.option(
                "--fact",
                "facts",
                multiple=True,
                metavar="NAME=VALUE[,VALUE]",
                help="What the machines report and no image decides, e.g. snp_microcode=209. May be repeated.",
            ),
            *(
                click.option(f"--allow-{word}", "allow", flag_value=word, multiple=True, help=_ALLOW_HELP[word])
                for word in allowances
            ),
        ]
    ):
        command = option(command)
    return argument(command)


def make_request(
    *,
    measurements: Path,
    trustee: str,
    policy: str,
    evidence: str | None,
    facts: tuple[str, ...],
    allow: tuple[str, ...] = (),
    options: ExportOptions = DEFAULTS,
) -> ExportRequest:
    """Return the request that the options make; the first argument may be a file, a build's folder, or ``-``.

    Raises:
        InputError: a file that cannot be read or holds no measurements, or a fact that is none (PVB611).
    """
    return ExportRequest(
        measurements=read_measurements(measurements),
        trustee=trustee,
        policy=policy,
        evidence=evidence,
        facts=parse_facts(facts),
        allow=frozenset(allow),
        options=options,
    )


def make_requests(*, measurements: tuple[Path, ...], **asked: Any) -> list[tuple[str, ExportRequest]]:
    """Return a request for each image, with what messages call the image; the rest as for :func:`make_request`.

    Raises:
        InputError: as there.
    """
    return [(str(path), make_request(measurements=path, **asked)) for path in measurements]


def make_joined(**asked: Any) -> ExportRequest:
    """Return one request for all images together; the arguments are those of :func:`make_requests`.

    Raises:
        InputError: as there; PVB661, the images send different evidence.
    """
    from podvm_builder.refvalues.union import union

    requests = [request for _, request in make_requests(**asked)]
    return replace(requests[0], measurements=union([one.measurements for one in requests]))


def warn_of_expiration(expiration: str) -> None:
    """Say on stderr where records have expired before they are written; the time is valid."""
    import time

    if expiration < time.strftime(TIME, time.gmtime()):
        click.echo(f"caution: `--expires {expiration}` is past, and Trustee before 0.16 heeds that", err=True)


def read_measurements(path: Path) -> MeasurementSet:
    """Read a ``measurements.json``, that of a build's folder, or stdin for ``-``."""
    from podvm_builder.formats.documents import parse_measurements

    source = path / MEASUREMENTS if path.is_dir() else path
    with named(source):
        return parse_measurements(read_document(source))


def read_document(path: Path) -> bytes:
    """Return a file's bytes or stdin's, at most one more than :data:`LIMIT`."""
    if path == Path("-"):
        return sys.stdin.buffer.read(LIMIT + 1)
    return read_file(path, limit=LIMIT)
