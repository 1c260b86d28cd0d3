"""The Packer template says what the plan says: read back by python-hcl2, and held against the plugins' options."""

from __future__ import annotations

import hashlib
from typing import Any

import hcl2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podvm_builder.catalog.load import catalogue
from podvm_builder.catalog.packer import packer_facts
from podvm_builder.formats.hcl import read_hcl
from podvm_builder.formats.secrets import secrets_in
from podvm_builder.guest.components import selftest
from podvm_builder.guest.payload import payload
from podvm_builder.model.recipe import RecipeTree
from podvm_builder.recipes.hcl import aligned, literal
from podvm_builder.recipes.packer_check import check_template
from tests.support.plans import packer_plan, packer_recipe, packer_targets
from tests.support.templates import BUILDERS, builder_recipe

TARGETS = packer_targets()


def texts(recipe: RecipeTree) -> dict[str, str]:
    return {path: file.data.decode() for path, file in recipe.items() if path.endswith(".pkr.hcl")}


def plain(value: Any) -> Any:
    """Return what python-hcl2 read without its marks and quotes."""
    if isinstance(value, dict):
        return {str(key).strip('"'): plain(item) for key, item in value.items() if not str(key).startswith("__")}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.removeprefix('"').removesuffix('"') if isinstance(value, str) else value


def parsed(recipe: RecipeTree, name: str) -> Any:
    return plain(hcl2.loads(recipe[name].data.decode()))


def test_there_are_targets() -> None:
    assert len(TARGETS) >= 14


@pytest.mark.parametrize("target", TARGETS)
def test_the_template_reads_back_to_the_plan(target: str) -> None:
    plan, recipe = packer_plan(target), packer_recipe(target)
    known = catalogue()
    cloud = known.clouds[plan.target.cloud].packer
    assert cloud is not None and plan.builder == "packer" and plan.folder == f"{plan.target.folder}-packer"
    builder = packer_facts().builders[cloud.builder]
    build = parsed(recipe, "build.pkr.hcl")["build"][0]
    assert build["sources"] == [f"source.{builder.name}.podvm"]
    manifest = next(step["manifest"] for step in build["post-processor"] if "manifest" in step)
    assert manifest["custom_data"]["plan"] == plan.ids.plan
    (source,) = parsed(recipe, "source.pkr.hcl")["source"]
    assert list(source) == [builder.name] and list(source[builder.name]) == ["podvm"]
    values = {**cloud.values, **cloud.tees.get(plan.target.tee, {})}
    if builder.name == "azure-arm":
        assert source[builder.name]["podvm"]["security_type"] == values["security_type"]
    if builder.name == "googlecompute":
        assert source[builder.name]["podvm"]["image_guest_os_features"] == list(values["features"])
    plugins = parsed(recipe, "plugins.pkr.hcl")["packer"][0]["required_plugins"][0][builder.plugin]
    assert plugins == {"source": builder.source, "version": f"= {builder.version}"}
    packages = recipe["lists/packages"].data.decode().split()
    assert packages == [name for name in plan.packages if name != plan.kernel.package]
    assert not set(recipe["lists/cmdline"].data.decode().split()) - set(plan.kernel.cmdline)


@pytest.mark.parametrize("target", TARGETS)
def test_the_payload_is_the_one_that_mkosi_bakes(target: str) -> None:
    plan, recipe = packer_plan(target), packer_recipe(target)
    guest = payload(plan, selftest())
    assert {path.removeprefix("payload/") for path in recipe if path.startswith("payload/")} == set(guest)
    assert all(recipe[f"payload/{path}"] == file for path, file in guest.items())
    for line in recipe["lists/payload"].data.decode().splitlines():
        mode, digest, path = line.split(" ", 2)
        assert int(mode, 8) == guest[path].mode and hashlib.sha256(guest[path].data).hexdigest() == digest


@pytest.mark.parametrize("recipe", [*map(packer_recipe, TARGETS), *map(builder_recipe, BUILDERS)])
def test_no_builder_is_asked_for_what_it_does_not_take(recipe: RecipeTree) -> None:
    assert check_template(texts(recipe)) == ()


@pytest.mark.parametrize("name", BUILDERS)
def test_variables_are_described_and_no_secret_has_a_value(name: str) -> None:
    for text in texts(builder_recipe(name)).values():
        assert not secrets_in(text.encode())
        for block in read_hcl(text).find("variable"):
            assert block.attributes["description"].text.strip('"').endswith(".")
            label = block.labels[0]
            if any(word in label for word in ("password", "api_key", "activation_key", "username")) and label != (
                "ssh_username"
            ):
                assert block.attributes["sensitive"].text == "true"
                assert "default" not in block.attributes or block.attributes["default"].text == '""'


def test_a_machine_never_stays_registered() -> None:
    recipe = builder_recipe("azure-arm")
    (build,) = read_hcl(texts(recipe)["build.pkr.hcl"]).find("build")
    (always,) = build.find("error-cleanup-provisioner", "shell")
    assert "70-unregister.sh" in always.attributes["script"].text
    steps = [block for block in build.find("provisioner", "shell") if "scripts" in block.attributes]
    assert "70-unregister.sh" in steps[0].attributes["scripts"].text


def test_every_script_is_strict() -> None:
    for recipe in (builder_recipe("qemu"), builder_recipe("amazon-ebssurrogate"), packer_recipe(TARGETS[0])):
        for path, file in recipe.items():
            if path.startswith(("scripts/", "last/")):
                assert file.data.startswith(b"#!/usr/bin/env bash\n# ") and b"\nset -euo pipefail\n" in file.data
                assert file.mode == 0o755


@pytest.mark.parametrize(
    ("old", "new", "message", "option"),
    [
        ("boot_mode ", "bot_mode ", "there is no option `bot_mode`; did you mean `boot_mode`?", "bot_mode"),
        ('"v2.0"\n  uefi', "[1]\n  uefi", "a list where a string is wanted", "tpm_support"),
        ("ena_support             = true", 'ena_support = "yes"', "a string where a bool is wanted", "ena_support"),
        ("var.volume_size", "var.region", "a string where a number is wanted", "volume_size"),
        ("var.volume_size", "var.nobody", "variable `nobody` that nobody declares", "volume_size"),
        ("  ami_root_device {", "  ami_rot_device {", "`ami_root_device` is required and absent", "ami_root_device"),
        ("omit_from_artifact ", "omit ", "there is no option `omit`", "omit"),
        ('source "amazon-ebssurrogate"', 'source "amazon-chroot"', "is no builder that is known", ""),
        (
            "  metadata_options {",
            "  metadata_options {\n  }\n  metadata_options {",
            "is there twice",
            "metadata_options",
        ),
        ("  ami_architecture ", "  tags {\n  }\n  ami_architecture ", "`tags` is no block", "tags"),
        ("\n}\n\nsource", "\n\nsource", "is not closed", ""),
    ],
)
def test_what_the_plugin_would_refuse_is_named(old: str, new: str, message: str, option: str) -> None:
    files = texts(builder_recipe("amazon-ebssurrogate"))
    changed = files["source.pkr.hcl"].replace(old, new)
    assert changed != files["source.pkr.hcl"]
    problems = check_template({**files, "source.pkr.hcl": changed})
    assert any(message in problem.message and problem.option == option for problem in problems), problems
    assert all(problem.file == "source.pkr.hcl" and problem.line > 0 for problem in problems if problem.message)


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cs"])))
def test_any_text_is_one_literal(text: str) -> None:
    (attribute,) = read_hcl(f"a = {literal(text)}\n").attributes.values()
    assert attribute.kind == "string"


def test_neighbours_line_up_and_others_do_not() -> None:
    text = 'a = 1\nlong_name = "x=y"\nb = [\n  1,\n]\ncc = 2\n\nd = 3\n'
    assert aligned(text) == 'a         = 1\nlong_name = "x=y"\nb = [\n  1,\n]\ncc = 2\n\nd = 3\n'
