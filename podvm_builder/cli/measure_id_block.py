"""``podvm-build measure id-block``: an SNP ID block for a launch digest, signed."""

from __future__ import annotations

import base64
from pathlib import Path

import click

from podvm_builder.cli.common import format_option, print_json
from podvm_builder.cli.input_files import read_file
from podvm_builder.errors import InputError
from podvm_builder.formats.id_block import (
    CODE,
    DEFAULT_POLICY,
    IdBlock,
    encode_id_auth,
    encode_id_block,
    key_digest,
)
from podvm_builder.measure.id_block import read_private_key, sign_id_block
from podvm_builder.measure.inputs import parse_number

_PATH = click.Path()
_MAX_KEY = 64 << 10


@click.command()
@click.option("--launch-digest", required=True, metavar="HEX", help="What `measure snp` printed, 48 bytes.")
@click.option("--id-key", type=_PATH, required=True, metavar="FILE", help="P-384 private key, PEM or DER.")
@click.option("--author-key", type=_PATH, metavar="FILE", help="P-384 private key that signs the ID key.")
@click.option("--family-id", default="00" * 16, metavar="HEX", help="16 bytes.  [default: zeros]")
@click.option("--image-id", default="00" * 16, metavar="HEX", help="16 bytes.  [default: zeros]")
@click.option("--guest-svn", default="0", show_default=True, metavar="N", help="The guest's security version.")
@click.option("--policy", default=f"{DEFAULT_POLICY:#x}", show_default=True, metavar="N", help="The guest policy.")
@click.option("--random-nonces", is_flag=True, help="Sign with random numbers rather than as RFC 6979 says.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="DIR", help="Write id-block.bin and id-auth.bin."
)
@format_option
def command(
    *,
    launch_digest: str,
    id_key: str,
    author_key: str | None,
    family_id: str,
    image_id: str,
    guest_svn: str,
    policy: str,
    random_nonces: bool,
    output: Path | None,
    output_format: str,
) -> None:
    """Make an SNP ID block and its authentication, as QEMU takes them.

    The firmware then refuses to start a guest with another launch digest or policy, and the attestation report
    names the digests of the keys. The same inputs give the same bytes.
    """
    block = IdBlock(
        launch_digest=_bytes(launch_digest, 48, "launch digest"),
        family_id=_bytes(family_id, 16, "family id"),
        image_id=_bytes(image_id, 16, "image id"),
        guest_svn=parse_number(guest_svn, "guest SVN", CODE),
        policy=parse_number(policy, "guest policy", CODE),
    )
    auth = sign_id_block(
        block,
        id_key=read_private_key(read_file(id_key, limit=_MAX_KEY), name=f"`{id_key}`"),
        author_key=None
        if author_key is None
        else read_private_key(read_file(author_key, limit=_MAX_KEY), name=f"`{author_key}`"),
        deterministic=not random_nonces,
    )
    files = {"id-block.bin": encode_id_block(block), "id-auth.bin": encode_id_auth(auth)}
    if output is not None:
        from podvm_builder.tools.files import refuse_file, write_named, writing

        refuse_file(output)
        with writing(output):
            output.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            write_named(output / name, data)
    found = {
        "id_block": base64.b64encode(files["id-block.bin"]).decode(),
        "id_auth": base64.b64encode(files["id-auth.bin"]).decode(),
        "id_key_digest": key_digest(auth.id_key).hex(),
        "author_key_digest": None if auth.author_key is None else key_digest(auth.author_key).hex(),
        "launch_digest": block.launch_digest.hex(),
        "family_id": block.family_id.hex(),
        "image_id": block.image_id.hex(),
        "guest_svn": block.guest_svn,
        "policy": f"{block.policy:#x}",
    }
    if output_format == "json":
        print_json(found)
    else:
        for name, value in found.items():
            click.echo(f"{name}={'-' if value is None else value}")


def _bytes(text: str, size: int, what: str) -> bytes:
    if len(text) != 2 * size or not all(digit in "0123456789abcdefABCDEF" for digit in text):
        raise InputError(f"the {what} has {2 * size} hexadecimal digits", code=CODE)
    return bytes.fromhex(text)
