"""`lint` as a user sees it: what it takes, what it prints in each form, and its exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from podvm_builder.cli.app import run
from podvm_builder.formats.manifest import manifest_to_json
from tests.support.lint_image import clean_image
from tests.support.lint_subjects import good_files
from tests.support.manifests import build, evidence
from tests.unit.test_measure_image import CLOUD, TPM

Lint = Callable[..., tuple[int, str, str]]


@pytest.fixture
def lint(capsys: pytest.CaptureFixture[str]) -> Lint:
    """Run the command; return its exit code, stdout and stderr."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        code = run(["lint", *map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with an image in which nothing is found."""
    folder = tmp_path_factory.mktemp("out")
    _output(folder, setuid=False)
    return folder


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder whose image has a set-user-ID program."""
    folder = tmp_path_factory.mktemp("faulty")
    _output(folder, setuid=True)
    return folder


def _output(folder: Path, *, setuid: bool) -> None:
    disk, _, _ = clean_image(setuid=setuid)
    manifest, _, _ = build("debian-13/none/libvirt", CLOUD, evidence("tpm", *TPM))
    (folder / "image.raw").write_bytes(disk)
    document = manifest_to_json(manifest) | {"target": "debian-13/none/libvirt", "phases": []}
    document["source_date_epoch"] = 1735689600
    (folder / "manifest.json").write_text(json.dumps(document))


def _tree(folder: Path) -> Path:
    for path, file in good_files().items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if file.target is not None:
            place.symlink_to(file.target)
        elif file.folder:
            place.mkdir(exist_ok=True)
        else:
            place.write_bytes(file.data)
        if file.target is None:
            place.chmod(file.mode)
    return folder


def test_an_image_without_findings(lint: Lint, output: Path) -> None:
    code, out, err = lint(output)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].startswith(f"image {output} (debian-13/none/libvirt): no findings; 36 rules applied")
    assert lint(output / "image.raw")[0] == 0
    assert "tee-driver" in lint(output / "image.raw")[1]  # nothing says what it is for
    assert "tee-driver" not in lint(output / "image.raw", "--target", "debian-13/none/libvirt")[1]


def test_a_finding_in_every_form(lint: Lint, faulty: Path) -> None:
    code, out, _ = lint(faulty)
    assert code == 1
    assert "PVB821 setuid: `/usr/bin/su` is set-user-ID (mode 4755)" in out
    assert "  mend: " in out
    code, out, _ = lint(faulty, "--format", "json")
    (report,) = json.loads(out)
    assert (code, report["schema"], report["target"]) == (1, "podvm-lint/1", "debian-13/none/libvirt")
    (finding,) = report["findings"]
    assert (finding["code"], finding["place"]) == ("PVB821", "/usr/bin/su")
    code, out, _ = lint(faulty, "--format", "github")
    assert (code, out.count("\n")) == (1, 1)
    assert out.startswith("::error title=PVB821 setuid::")
    code, out, _ = lint(faulty, "--format", "sarif")
    assert (code, json.loads(out)["runs"][0]["results"][0]["ruleId"]) == (1, "PVB821")


def test_a_suppression_of_the_manifest_counts(lint: Lint, faulty: Path, tmp_path: Path) -> None:
    document = json.loads((faulty / "manifest.json").read_text())
    document["suppressions"] = [
        {"code": "PVB821", "path": "/usr/bin/su", "reason": "support asks for it"},
        {"code": "PVB822", "path": "*", "reason": "gone"},
    ]
    (tmp_path / "image.raw").symlink_to(faulty / "image.raw")
    (tmp_path / "manifest.json").write_text(json.dumps(document))
    code, out, _ = lint(tmp_path)
    assert code == 0
    assert "PVB821 setuid: `/usr/bin/su` is set-user-ID (mode 4755) (profile: support asks for it)" in out
    assert "suppressed, but not found:\n  PVB822 *: gone" in out


def test_recipes_targets_and_profiles(lint: Lint, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "recipe"
    assert run(["render", "debian-13/snp/libvirt", "-o", str(recipe)]) == 0
    capsys.readouterr()
    code, out, _ = lint(recipe)
    assert code == 0
    assert "(debian-13/snp/libvirt): no findings" in out
    (recipe / "mkosi.extra/etc/tls.key").write_text("-----BEGIN " + "PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\n")
    code, out, _ = lint(recipe)
    assert code == 1
    assert "PVB834 secret: `/etc/tls.key` holds a private key" in out
    assert lint("debian-13/tdx/gcp")[0] == 0
    profile = tmp_path / "acme.yaml"
    profile.write_text("schema: 1\ndistro: debian-13\ntee: [snp, tdx]\ncloud: azure\n")
    code, out, _ = lint(profile)
    assert (code, out.count("no findings")) == (0, 2)
    profile.write_text(profile.read_text() + "packages: {append: [openssh-server]}\n")
    code, out, _ = lint(profile)
    assert (code, out.count("PVB831 ssh:")) == (1, 2)


def test_a_plain_tree(lint: Lint, tmp_path: Path) -> None:
    tree = _tree(tmp_path / "tree")
    code, out, _ = lint(tree, "--cmdline", "console=ttyS0 systemd.import_credentials=no")
    assert code == 0
    (tree / "etc/x").symlink_to("/gone")
    (tree / "usr/bin/sh").unlink()
    (tree / "usr/bin/sh").symlink_to("/usr/bin/gone")
    code, out, _ = lint(tree, "--target", "debian-13/snp/aws+debug", "--cmdline", "console=ttyS0 rd.shell")
    assert code == 1
    assert "PVB810 dangling-link: `/etc/x` leads to `/gone`" in out
    assert "PVB842 network-driver: the kernel has no `ena`" in out
    assert "PVB847 credential-import" in out
    assert "PVB835 console-shell: `rd.shell` gives a root shell where the initrd fails (variant debug:" in out


def test_the_contract_as_a_table(lint: Lint, output: Path) -> None:
    code, out, _ = lint(output, "--contract")
    assert code == 0
    assert "| `/usr/local/bin/kata-agent` | the agent that runs the pod's containers | program, mode 0755 | – |" in out
    assert "**missing**" not in out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["{tmp}"], "PVB801", "holds neither"),
        (["{tmp}/text"], "PVB242", "no GUID partition table"),
        (["{out}", "--cmdline", "quiet"], "PVB802", "does not go with an image"),
        (["{out}", "--target", "debian-13/snp/aws"], "PVB802", "was built for"),
        (["debian-13/snp/aws", "--target", "debian-13/snp/aws"], "PVB802", "does not go with a target"),
        (["debian-13/snp/aws", "--cmdline", "quiet"], "PVB802", "does not go with a recipe"),
        (["{out}", "--target", "debian-13/sgx/aws"], "PVB1", ""),
        (["nowhere/at/all"], "PVB102", "nowhere"),
    ],
)
def test_bad_input(lint: Lint, output: Path, tmp_path: Path, *, arguments: list[str], code: str, said: str) -> None:
    (tmp_path / "text").write_text("text" * 1000)
    given = [word.format(tmp=tmp_path, out=output) for word in arguments]
    exit_code, out, err = lint(*given)
    assert (exit_code, out) == (2, "")
    assert f"error[{code}" in err
    assert said in err
