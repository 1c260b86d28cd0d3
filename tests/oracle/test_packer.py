"""Debian 12's Packer and Debian's shellcheck read every template and every script that is rendered.

Packer 1.6.6 does not know the block of ``plugins.pkr.hcl`` and the options of later plugins: it judges form and syntax.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from podvm_builder.build.mkosi import write_tree
from podvm_builder.guest.files import template_files
from tests.support.debian import command
from tests.support.plans import packer_recipe, packer_targets
from tests.support.templates import BUILDERS, builder_recipe, every_recipe


def packer(*args: str) -> subprocess.CompletedProcess[str]:
    # it starts itself anew by its own path, so no other program may load it
    program = command("usr/bin/packer", ("packer",), suite="bookworm")[-1]
    return subprocess.run(
        [program, *args],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "CHECKPOINT_DISABLE": "1", "PACKER_NO_COLOR": "1"},
    )


def test_packer_finds_every_template_well_formed(tmp_path: Path) -> None:
    recipes = {**every_recipe(), **{f"builder-{name}": builder_recipe(name) for name in BUILDERS}}
    assert len(recipes) >= len(packer_targets()) + len(BUILDERS) - 1
    for name, recipe in recipes.items():
        hcl = {path: file for path, file in recipe.items() if path.endswith(".pkr.hcl")}
        write_tree(hcl, tmp_path / name)
        done = packer("fmt", "-check", "-diff", str(tmp_path / name))
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
        (tmp_path / name / "plugins.pkr.hcl").unlink()
        done = packer("validate", "-syntax-only", str(tmp_path / name))
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"


def test_packer_would_notice_another_form(tmp_path: Path) -> None:
    text = builder_recipe("qemu")["source.pkr.hcl"].data.decode()
    (tmp_path / "a.pkr.hcl").write_text(text.replace("  disk_image ", "  disk_image"))
    assert packer("fmt", "-check", str(tmp_path)).returncode == 3


@pytest.mark.parametrize(
    "target", [target for target in packer_targets() if target.endswith(("/libvirt", "/openstack"))]
)
def test_packer_takes_every_option_and_value_of_the_qemu_template(target: str, tmp_path: Path) -> None:
    write_tree(packer_recipe(target), tmp_path / "r")
    (tmp_path / "r/plugins.pkr.hcl").unlink()
    # Packer has known this block since 1.7
    build = tmp_path / "r/build.pkr.hcl"
    text = re.sub(r"^  error-cleanup-provisioner .*?^  }\n", "", build.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert "error-cleanup" not in text
    build.write_text(text)
    (tmp_path / "base").touch()
    (tmp_path / "key").write_bytes(
        Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    )

    def validate(checksum: str) -> subprocess.CompletedProcess[str]:
        values = {
            "base_image": tmp_path / "base",
            "base_checksum": checksum,
            "ssh_private_key_file": tmp_path / "key",
            "output_directory": tmp_path / "out",
        }
        return packer(
            "validate",
            *(word for name, value in values.items() for word in ("-var", f"{name}={value}")),
            str(tmp_path / "r"),
        )

    done = validate(f"sha256:{hashlib.sha256(b'').hexdigest()}")
    assert done.returncode == 0, done.stdout + done.stderr
    done = validate("sha256:0")
    assert done.returncode == 1 and "64 hexadecimal digits" in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["scripts", "last"])
def test_shellcheck_has_nothing_to_say_about_the_scripts(name: str) -> None:
    for script, data in template_files(f"packer/{name}").items():
        done = subprocess.run(
            [*command("usr/bin/shellcheck", ("shellcheck",)), "--norc", "--severity=style", "-"],
            input=data,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, f"{script}: {done.stdout.decode()}"
