"""Places at which a process fails when it is told to, and at no other."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from libs import crash
from libs.crash import BadCrash, Crash, Crashed, crash_point
from libs.runtime.host import start
from libs.settings import BadSetting, ServiceSettings


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    crash.disarm()


def test_what_is_to_happen_is_read() -> None:
    assert Crash.read("relay.taken") == Crash("relay.taken", "kill", 1)
    assert Crash.read(" relay.taken:exception:3\n") == Crash("relay.taken", "exception", 3)
    assert Crash.read("relay.taken:stall=6") == Crash("relay.taken", "stall", 1, 6.0)
    assert Crash.read(str(Crash("relay.taken", "stall", 2, 1.5))) == Crash("relay.taken", "stall", 2, 1.5)


@pytest.mark.parametrize("text", ["", ":kill", "a:boom", "a:kill:0", "a:kill:x", "a:kill=3", "a:stall=x"])
def test_what_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(BadCrash, match=r"name\[:kind"):
        Crash.read(text)


def test_it_happens_once_and_only_there() -> None:
    crash_point("a")  # nobody asked
    crash.arm("a:exception:2", "x")

    crash_point("b")
    crash_point("a")
    with pytest.raises(Crashed):
        crash_point("a")
    crash_point("a")


def test_a_running_process_is_told_by_a_file(tmp_path: Path) -> None:
    crash.arm(f"@{tmp_path}", "gateway")
    crash_point("a")
    (tmp_path / "analytics").write_text("a:exception")
    crash_point("a")  # somebody else's

    for _ in range(2):  # the same once more is told anew
        (tmp_path / "gateway").write_text("a:exception:2")
        crash_point("a")
        with pytest.raises(Crashed):
            crash_point("a")
        assert (tmp_path / "gateway.happened").read_text() == "a:exception:2"
        crash_point("a")


@pytest.mark.parametrize(("kind", "code"), [("kill", -9), ("term", -15)])
def test_signals_end_the_process_after_it_has_said_so(kind: str, code: int) -> None:
    code_lines = f"from libs import crash; crash.arm('a:{kind}', 'x'); crash.crash_point('a'); print('alive')"
    ended = subprocess.run([sys.executable, "-c", code_lines], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "", f"crash_point a:{kind}:1\n")


def test_a_production_start_refuses_to_fail_on_purpose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRASH_AT", "relay.taken")
    assert ServiceSettings().crash() == "relay.taken"

    monkeypatch.setenv("OUTRIDER_ENVIRONMENT", "production")
    with pytest.raises(BadSetting, match="CRASH_AT is for tests"):
        ServiceSettings().crash()


def test_a_start_with_a_wrong_order_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from libs.runtime.host import Part

    monkeypatch.setenv("CRASH_AT", "relay.taken:boom")
    parts = [Part("gateway", ServiceSettings(), lambda platform, settings: None)]  # type: ignore[arg-type,return-value]
    with pytest.raises(SystemExit, match=r"gateway: CRASH_AT is name\[:kind"):
        start(lambda: parts, "gateway")
