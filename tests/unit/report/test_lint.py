"""The forms of a lint report: nothing that a file name holds breaks out of any of them."""

from __future__ import annotations

import json
import re

from podvm_builder.lint.table import RULES
from podvm_builder.model.lint import Excused, LintFinding, LintReport, Suppression
from podvm_builder.report.lint import lint_to_github, lint_to_json, lint_to_sarif, notes, render_lint

NAMES = {rule.code: (rule.name, rule.mend) for rule in RULES}
WILD = "/etc/a,b:c%d\r\n::error::x\x1b[31m"
FINDING = LintFinding(code="PVB821", rule="setuid", place=WILD, message=f"`{WILD}` is set-user-ID", mend="take it away")
OTHER = LintFinding(code="PVB831", rule="ssh", place="/usr/sbin/sshd", message="an SSH server", mend="remove it")
REPORT = LintReport(
    subject="out/ä b",
    kind="image",
    target="debian-13/snp/libvirt+debug",
    findings=(FINDING,),
    excused=(Excused(finding=OTHER, reason="a root shell", by="variant debug"),),
    unused=(Suppression(code="PVB822", path="/x", reason="gone"),),
    unchecked=(("root-hash", "needs a disk"), ("verity-data", "needs a disk"), ("/etc/x", "closed")),
    checked=30,
)


def test_text() -> None:
    text = render_lint(REPORT)
    assert "\x1b" not in text and "\r" not in text
    assert text.splitlines()[0].startswith("PVB821 setuid: ")
    assert "  PVB831 ssh: an SSH server (variant debug: a root shell)" in text
    assert "  PVB822 /x: gone" in text
    assert "  root-hash, verity-data: needs a disk" in text
    assert text.splitlines()[-1] == (
        "image out/ä b (debian-13/snp/libvirt+debug): 1 finding, 1 not counted; 30 rules applied"
    )
    assert notes(REPORT)[0] == "lint: not counted: PVB831 ssh: an SSH server (variant debug: a root shell)"


def test_json() -> None:
    document = json.loads(json.dumps(lint_to_json(REPORT)))
    assert document["findings"][0]["place"] == WILD
    assert document["suppressed"][0]["by"] == "variant debug"
    assert document["unused_suppressions"] == [{"code": "PVB822", "path": "/x", "reason": "gone"}]
    assert document["not_checked"][0] == {"rule": "root-hash", "reason": "needs a disk"}


def test_github_annotations_are_one_line_each() -> None:
    lines = lint_to_github([REPORT]).split("\n")
    assert [line.split(" ")[0] for line in lines] == ["::error", "::notice", "::warning"]
    title, message = re.fullmatch(r"::error title=([^:]*)::(.*)", lines[0]).groups()  # type: ignore[union-attr]
    assert title == "PVB821 setuid"
    assert "%25d" in message and "%0Amend: take it away" in message
    assert "\x1b" not in message
    title = re.fullmatch(r"::notice title=([^:]*)::.*", lines[1]).group(1)  # type: ignore[union-attr]
    assert title == "PVB831 ssh (not counted)"


def test_sarif() -> None:
    log = lint_to_sarif([REPORT], NAMES)
    json.dumps(log)
    assert (log["version"], log.keys()) == ("2.1.0", {"$schema", "version", "runs"})
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "podvm-build"
    assert [rule["id"] for rule in driver["rules"]] == sorted(NAMES)
    for rule in driver["rules"]:
        assert rule["name"].isidentifier() and rule["shortDescription"]["text"] and rule["help"]["text"]
        assert rule["defaultConfiguration"] == {"level": "error"}
    finding, excused = run["results"]
    for result in (finding, excused):
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        (location,) = result["locations"]
        assert location["physicalLocation"]["artifactLocation"]["uri"] == "out/%C3%A4%20b"
        assert set(result["partialFingerprints"]) == {"podvmLint/v1"}
    assert "suppressions" not in finding
    assert excused["suppressions"] == [{"kind": "external", "justification": "variant debug: a root shell"}]
    assert finding["level"] == "error"
