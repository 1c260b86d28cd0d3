"""What becomes of findings: counted, suppressed with a reason, or the purpose of a variant."""

from __future__ import annotations

from dataclasses import replace

from podvm_builder.catalog.lint_facts import lint_codes
from podvm_builder.formats.compression import Unsupported
from podvm_builder.lint.opening import about_plan, tree_subject
from podvm_builder.lint.table import RULES
from podvm_builder.model.lint import Suppression
from podvm_builder.model.reader import BinaryReader
from tests.support.lint_subjects import LIB, PROGRAM, MemoryTree, good_files, image, link, report, text
from tests.support.plans import selftest_plan

SETUID = {"usr/bin/su": replace(PROGRAM, mode=0o4755), "usr/bin/passwd": replace(PROGRAM, mode=0o4755)}


def suppress(code: str, path: str = "*") -> Suppression:
    """Suppress with a reason."""
    return Suppression(code=code, path=path, reason="support asks for it")


def test_a_suppression_covers_its_code_and_path() -> None:
    found = report(image(SETUID), suppressions=(suppress("PVB821", "/usr/bin/su"),))
    assert [finding.place for finding in found.findings] == ["/usr/bin/passwd"]
    (excused,) = found.excused
    assert (excused.finding.place, excused.by, excused.reason) == ("/usr/bin/su", "profile", "support asks for it")
    assert found.unused == ()
    assert report(image(SETUID), suppressions=(suppress("PVB821", "/usr/*"),)).findings == ()


def test_a_suppression_that_matches_nothing_is_said() -> None:
    given = (suppress("PVB821", "/usr/sbin/*"), suppress("PVB822"))
    found = report(image(SETUID), suppressions=given)
    assert len(found.findings) == 2
    assert found.unused == given


def test_the_debug_variant_allows_what_it_is_for() -> None:
    changes = {"usr/sbin/sshd": PROGRAM, **SETUID}
    found = report(image(changes, variant="debug", cmdline=f"{image().cmdline} rd.shell"))
    assert {finding.code for finding in found.findings} == {"PVB821"}
    assert {one.finding.code for one in found.excused} == {"PVB831", "PVB835"}
    assert {one.by for one in found.excused} == {"variant debug"}


def test_a_feature_allows_its_own_listener_and_no_other() -> None:
    ssh = text("[Service]\nExecStart=/usr/sbin/sshd -D\n")
    other = text("[Socket]\nListenStream=80\n")
    changes = {
        "usr/sbin/sshd": PROGRAM,
        f"{LIB}ssh.service": ssh,
        f"{LIB}multi-user.target.wants/ssh.service": link("../ssh.service"),
        f"{LIB}http.socket": other,
        f"{LIB}http.service": ssh,
        f"{LIB}sockets.target.wants/http.socket": link("../http.socket"),
    }
    found = report(image(changes, features=("sftp",)))
    assert {finding.place for finding in found.findings} == {f"/{LIB}http.socket", f"/{LIB}http.service"}
    assert {one.by for one in found.excused} == {"feature sftp"}
    assert report(image(changes)).excused == ()


def test_every_rule_can_be_suppressed() -> None:
    assert set(lint_codes()) == {rule.code for rule in RULES}


class _Closed(MemoryTree):
    """A tree in which some files cannot be read."""

    def open(self, path: str) -> BinaryReader:  # type: ignore[override]
        if path in ("etc/shadow", "usr/bin/true"):
            raise Unsupported("permission denied")
        return super().open(path)


def test_what_cannot_be_read_is_said() -> None:
    about = about_plan(selftest_plan("debian-13/snp/libvirt"))
    found = report(tree_subject("tree", _Closed(good_files()), about))
    unchecked = dict(found.unchecked)
    assert unchecked["/etc/shadow"] == "cannot be read here: permission denied"
    assert unchecked["program-library"] == "cannot be read here: permission denied"
