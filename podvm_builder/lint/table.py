"""All rules, in the order in which findings are told."""

from __future__ import annotations

from podvm_builder.lint.access import console_shell, listener, login_prompt, password, secret, ssh
from podvm_builder.lint.content import identity, leftover, recipe_unstable, timestamp, unwanted_package
from podvm_builder.lint.contract import agent_not_started, contract_differs, contract_missing
from podvm_builder.lint.kernel import console, credential_import, disk_driver, network_driver, tee_driver
from podvm_builder.lint.links import dangling_link, special_file
from podvm_builder.lint.modes import file_capabilities, mode, owner, setuid, world_writable
from podvm_builder.lint.pcrs import pcr_unasked, phases_not_measured
from podvm_builder.lint.programs import damaged_program, program_library
from podvm_builder.lint.rule import Rule
from podvm_builder.lint.units import preset, unit_cycle, unit_enabled, unit_link, unit_program
from podvm_builder.lint.verity import root_hash, verity, verity_data

RULES: tuple[Rule, ...] = (
    dangling_link,
    unit_link,
    unit_enabled,
    unit_cycle,
    unit_program,
    program_library,
    agent_not_started,
    preset,
    mode,
    setuid,
    file_capabilities,
    world_writable,
    owner,
    special_file,
    login_prompt,
    ssh,
    password,
    listener,
    secret,
    console_shell,
    tee_driver,
    disk_driver,
    network_driver,
    console,
    root_hash,
    verity,
    verity_data,
    credential_import,
    pcr_unasked,
    phases_not_measured,
    identity,
    leftover,
    timestamp,
    recipe_unstable,
    unwanted_package,
    contract_missing,
    contract_differs,
    damaged_program,
)
"""By their codes."""
