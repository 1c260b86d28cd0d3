"""The mkosi recipe says what the plan says, and nothing of the machine that rendered it."""

from __future__ import annotations

import configparser
import dataclasses
import uuid

import pytest

from podvm_builder.errors import InputError
from podvm_builder.guest.components import selftest
from podvm_builder.guest.files import template_files
from podvm_builder.recipes.mkosi import image_name, render, seed
from tests.support.plans import selftest_plan, selftest_recipe

TARGET = "debian-13/snp/libvirt"


def settings(data: bytes) -> dict[str, dict[str, list[str]]]:
    """Read an mkosi or repart file: section to setting to its lines; a setting may come more than once."""
    found: dict[str, dict[str, list[str]]] = {}
    section, key = "", ""
    for line in data.decode().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("["):
            section = line.strip("[]")
        elif line[0].isspace():
            found[section][key].append(line.strip())
        else:
            key, _, value = line.partition("=")
            found.setdefault(section, {}).setdefault(key, []).extend([value] if value else [])
    return found


def test_the_configuration_says_what_the_plan_says() -> None:
    plan = selftest_plan(TARGET)
    config = settings(selftest_recipe(TARGET)["mkosi.conf"].data)
    assert config["Distribution"]["Release"] == ["trixie"]
    assert config["Content"]["KernelCommandLine"] == list(plan.kernel.cmdline)
    assert config["Content"]["Packages"] == list(plan.packages)
    assert config["Content"]["KernelModulesInclude"] == list(plan.kernel.modules)
    assert config["Content"]["KernelModulesInitrdInclude"] == list(plan.kernel.initrd_modules)
    assert config["Content"]["RemoveFiles"] == list(plan.image.remove)
    assert config["Output"]["Seed"] == [seed(plan.ids.rootfs)]


def test_the_partitions_are_esp_root_and_hash_tree() -> None:
    recipe = selftest_recipe(TARGET)
    parts = {path: settings(file.data)["Partition"] for path, file in recipe.items() if "mkosi.repart/" in path}
    assert [part["Type"] for part in parts.values()] == [["esp"], ["root"], ["root-verity"]]
    esp, root, verity = parts.values()
    assert root["Verity"] == ["data"] and verity["Verity"] == ["hash"]
    assert root["VerityMatchKey"] == verity["VerityMatchKey"]
    assert root["Minimize"] == verity["Minimize"] == ["best"]
    assert esp["SizeMinBytes"] == esp["SizeMaxBytes"]


def test_a_recipe_names_no_mirror_and_no_path_of_the_machine() -> None:
    for path, file in selftest_recipe(TARGET).items():
        text = file.data
        # sockets, files, and the names of XML's vocabularies, which nothing is fetched from
        for known in (b"unix://", b"file://", b"kbs:///", b"http://www.w3.org/2001/"):
            text = text.replace(known, b"")
        assert b"://" not in text, path
        assert not path.startswith("/") and ".." not in path.split("/")


def test_rendering_twice_gives_the_same_bytes_in_the_same_order() -> None:
    plan = selftest_plan(TARGET)
    first, second = render(plan, selftest()), render(plan, selftest())
    assert list(first.items()) == list(second.items()) and list(first) == sorted(first)


def test_a_word_of_the_command_line_changes_one_line_of_one_file() -> None:
    before, after = selftest_recipe(TARGET), selftest_recipe(TARGET, "kernel.cmdline+=mitigations=auto")
    changed = [path for path in after if before[path] != after[path]]
    assert changed == ["mkosi.conf"]
    old, new = (recipe["mkosi.conf"].data.decode().splitlines() for recipe in (before, after))
    assert [line for line in new if line not in old] == ["        mitigations=auto"]
    assert len(new) == len(old) + 1


def test_only_programs_and_scripts_are_executable() -> None:
    recipe = selftest_recipe(TARGET)
    executable = {path for path, file in recipe.items() if file.mode == 0o755}
    programs = {f"mkosi.extra/{path}" for path in [*selftest(), *template_files("guest")] if "/bin/" in path}
    assert executable == programs | {"mkosi.finalize", "initrd-init"}
    assert all(recipe[path].data.startswith(b"#!") for path in executable)


def test_percent_signs_are_no_specifiers() -> None:
    plan = selftest_plan(TARGET)
    plan = dataclasses.replace(plan, kernel=dataclasses.replace(plan.kernel, cmdline=("a=50%d",)))
    assert b"        a=50%%d\n" in render(plan, {})["mkosi.conf"].data


@pytest.mark.parametrize("word", ["", " x", "a b", "a\nPackages=sshd", "#x", ";x", "[Content]", "a\0"])
def test_a_word_that_mkosi_would_read_otherwise_is_refused(word: str) -> None:
    plan = selftest_plan(TARGET)
    plan = dataclasses.replace(plan, kernel=dataclasses.replace(plan.kernel, cmdline=(word,)))
    with pytest.raises(InputError) as caught:
        render(plan, {})
    assert caught.value.code == "PVB403" and "kernel.cmdline" in caught.value.message


@pytest.mark.parametrize(
    ("target", "name"), [(TARGET, "podvm-selftest"), ("debian-13/snp/libvirt+debug", "podvm-selftest-debug")]
)
def test_the_name_says_selftest_and_debug(target: str, name: str) -> None:
    assert image_name(selftest_plan(target), selftest()) == name
    assert image_name(selftest_plan(target), {}) == name.replace("-selftest", "")


def test_the_seed_is_a_uuid_of_the_root_s_identity() -> None:
    value = uuid.UUID(seed("ff" * 32))
    assert value.version == 8 and value.variant == uuid.RFC_4122
    assert seed("00" * 32) != seed("01" + "00" * 31)


def test_units_of_the_recipe_are_well_formed() -> None:
    for path, file in selftest_recipe(TARGET).items():
        if path.startswith("mkosi.extra/etc/systemd/system/") and file.data:
            parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
            parser.optionxform = str  # type: ignore[assignment, method-assign]
            parser.read_string(file.data.decode())
            assert path.endswith(".conf") or parser["Unit"]["Description"], path
