"""The report that Azure waits for, against a host agent on loopback that keeps to the protocol."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from podvm_builder.guest.files import template_files

VERSIONS = "<Versions><Preferred><Version>2015-04-05</Version></Preferred></Versions>"
GOAL = (
    "<?xml version='1.0'?>\n<GoalState><Version>2015-04-05</Version>\n<Incarnation>7</Incarnation>\n"
    "<Container>\n<ContainerId>c-1</ContainerId><RoleInstanceList><RoleInstance><InstanceId>i-2._vm</InstanceId>"
    "</RoleInstance></RoleInstanceList></Container></GoalState>"
)

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


@contextmanager
def host(answers: dict[str, str]) -> Iterator[tuple[int, list[tuple[str, str, str]]]]:
    """Run the host's agent; yield its port and the requests that came: method, path with version, body."""
    came: list[tuple[str, str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer("GET", "")

        def do_POST(self) -> None:
            self.answer("POST", self.rfile.read(int(self.headers["Content-Length"])).decode())

        def answer(self, method: str, body: str) -> None:
            came.append((method, f"{self.path} {self.headers['x-ms-version']}", body))
            text = answers.get(self.path.partition("comp=")[2])
            self.send_response(200 if text is not None else 503)
            self.end_headers()
            self.wfile.write((text or "").encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1], came
        finally:
            server.shutdown()
            thread.join()


def report(port: int) -> subprocess.CompletedProcess[str]:
    script = template_files("guest")["usr/local/bin/azure-ready"].decode()
    script = script.replace("168.63.129.16", "127.0.0.1").replace("/dev/tcp/$server/80", f"/dev/tcp/$server/{port}")
    return subprocess.run(["bash", "-c", script], check=False, capture_output=True, text=True)


def test_the_goal_state_is_answered_with_ready() -> None:
    with host({"versions": VERSIONS, "goalstate": GOAL, "health": ""}) as (port, came):
        done = report(port)
    assert done.returncode == 0, done.stderr
    assert [(method, path) for method, path, _ in came] == [
        ("GET", "/?comp=versions 2015-04-05"),
        ("GET", "/machine/?comp=goalstate 2015-04-05"),
        ("POST", "/machine/?comp=health 2015-04-05"),
    ]
    body = came[-1][2]
    for part in (
        "<GoalStateIncarnation>7</GoalStateIncarnation>",
        "<ContainerId>c-1</ContainerId>",
        "<InstanceId>i-2._vm</InstanceId>",
        "<State>Ready</State>",
    ):
        assert part in body


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {"versions": "<Version>2099-01-01</Version>"},
        {"versions": VERSIONS},
        {"versions": VERSIONS, "goalstate": "<GoalState/>"},
        {"versions": VERSIONS, "goalstate": GOAL},
    ],
)
def test_what_goes_wrong_fails_the_unit_which_tries_again(answers: dict[str, str]) -> None:
    with host(answers) as (port, _):
        assert report(port).returncode != 0
