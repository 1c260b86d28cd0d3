"""``podvm-build refvalues export``: measurements in the form that a verifier reads."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from podvm_builder.cli.input_files import read_file
from podvm_builder.cli.refvalues_options import make_joined, requests_options, warn_of_expiration
from podvm_builder.errors import InputError
from podvm_builder.refvalues import FORMATS, ExportOptions, export
from podvm_builder.refvalues.registry import DEFAULTS

_FILE = click.Path(path_type=Path)
_MAX_KEY = 64 << 10
_ALWAYS = frozenset({"measurements", "to", "output", "allow"})
"""Parameters that mean the same for every form."""


@click.command()
@requests_options
@click.option("--to", "to", type=click.Choice(list(FORMATS)), required=True, help="Form of the output.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Write to a file, or a folder's files, instead of stdout."
)
@click.option("--use-rvps", is_flag=True, help="rego: ask the RVPS for the values instead of holding them.")
@click.option(
    "--expires",
    metavar="TIME",
    default=DEFAULTS.expiration,
    show_default=True,
    help="Expiration of stored records, UTC. No Trustee from 0.16 on acts on it.",
)
@click.option("--name", default=DEFAULTS.name, show_default=True, help="Name of the ConfigMap.")
@click.option("--namespace", default=DEFAULTS.namespace, show_default=True, help="Namespace of the ConfigMap.")
@click.option("--uri-path", default=DEFAULTS.uri_path, show_default=True, help="rvps-uri: path before the register.")
@click.option("--uri-tag", default="", metavar="TAG", help="rvps-uri: tag of the names; else the image's identity.")
@click.option(
    "--boot", default="", metavar="PATH", help="The boot path, where there are several; not of Trustee's forms."
)
@click.option("--key", type=_FILE, metavar="FILE", help="in-toto, CoRIMs, id-block: private key that signs, PEM.")
@click.option("--author-key", type=_FILE, metavar="FILE", help="id-block: private key that signs the ID key, PEM.")
@click.option("--product", default="", metavar="NAME", help="corim-amd: the machines' processors, e.g. Milan.")
@click.option("--personalization", default="", metavar="HEX", help="cca-rv-store: the realm's value.  [default: zeros]")
@click.pass_context
def command(
    context: click.Context,
    /,
    *,
    to: str,
    output: Path | None,
    use_rvps: bool,
    expires: str,
    name: str,
    namespace: str,
    uri_path: str,
    uri_tag: str,
    boot: str,
    key: Path | None,
    author_key: Path | None,
    product: str,
    personalization: str,
    **asked: Any,
) -> None:
    """Export measurements in the form that a verifier reads.

    MEASUREMENTS is a measurements.json, the folder of a build, or - for stdin. Several are exported together, so that
    each of them passes.

    Only registers with a value that the measurements justify are exported, and only where they identify the
    image. What is left out, and what a policy with these values does not catch, is said on stderr.
    """
    _refuse_unheeded(context, to)
    if to == "rego" and asked["policy"] == "operator":
        raise InputError("`--to rego` writes a policy of its own", code="PVB100", hint="leave `--policy` out")
    options = ExportOptions(
        expiration=expires,
        name=name,
        namespace=namespace,
        use_rvps=use_rvps,
        uri_path=uri_path,
        uri_tag=uri_tag,
        boot=boot,
        key=None if key is None else read_file(key, limit=_MAX_KEY),
        author_key=None if author_key is None else read_file(author_key, limit=_MAX_KEY),
        product=product,
        personalization=personalization,
    )
    warn_of_expiration(expires)
    request = make_joined(options=options, **asked)
    document = export(request, to)
    if isinstance(document, bytes):
        _write_file(document, output)
    else:
        _write_folder(document, output, to)
    from podvm_builder.refvalues.formats import read_back
    from podvm_builder.report.refvalues import register_summary, summary
    from podvm_builder.report.text import printable

    form = FORMATS[to]
    if form.asks_policy:
        lines = summary(request.values("extended" if to == "rego" else None))
    else:
        lines = register_summary(read_back(form, document), request.measurements, request.allow)
    for line in lines:
        click.echo(printable(line), err=True)
    if output is not None:
        click.echo(f"wrote {output}", err=True)


def _refuse_unheeded(context: click.Context, to: str) -> None:
    """Refuse options that were given and that the form does not heed."""
    for parameter in context.command.params:
        name = str(parameter.name)
        given = context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if given and name not in _ALWAYS and name not in FORMATS[to].heeds:
            forms = [form for form, one in FORMATS.items() if name in one.heeds]
            raise InputError(
                f"`{parameter.opts[0]}` says nothing of `--to {to}`",
                code="PVB100",
                hint=f"leave it out; it is for {', '.join(forms)}",
            )


def _write_file(document: bytes, output: Path | None) -> None:
    if output is None:
        click.echo(document, nl=False)
        return
    from podvm_builder.tools.files import write_named

    write_named(output, document)


def _write_folder(files: Mapping[str, bytes], output: Path | None, to: str) -> None:
    """Write a format's files into a new or empty folder, whole or not at all."""
    if output is None:
        raise InputError(f"`{to}` is a folder of files", code="PVB100", hint="name it with `-o DIR`")
    from podvm_builder.tools.files import refuse_file, write_atomic, writing

    refuse_file(output)
    with writing(output):
        if output.is_dir() and any(output.iterdir()):
            raise InputError(f"`{output}` is not empty", code="PVB324", hint="name a new folder")
        output.parent.mkdir(parents=True, exist_ok=True)
        new = output.absolute().with_name(f".{output.name[:32]}.new-{secrets.token_hex(4)}")
        for path, data in files.items():
            write_atomic(new / path, data)
        new.rename(output)
