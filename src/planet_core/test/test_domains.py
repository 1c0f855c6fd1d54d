from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from planet_core import domains
from planet_core.domains import FOLLOWED, RUN, VARIABLE, Claim, DomainError, enter

HOLD = """
import os, sys
from pathlib import Path
from planet_core.domains import enter
claim = enter(os.environ, Path(sys.argv[1]))
print(claim.holder.domain, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.delenv(FOLLOWED, raising=False)


@contextmanager
def another(data_dir: str) -> Iterator[int]:
    """A run in a process of its own, and its domain."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, data_dir],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def test_two_runs_that_ask_for_nothing_get_domains_of_their_own() -> None:
    with another("/data/one") as first:
        environment: dict[str, str] = {}
        claim = enter(environment, Path("/data/two"))
        assert (first, claim.holder.domain) == (0, 1)
        assert environment[VARIABLE] == "1"
        claim.close()


def test_a_domain_that_is_asked_for_and_taken_is_refused_by_the_name_of_its_run() -> None:
    with (
        another("/data/one"),
        pytest.raises(DomainError, match=r"the run in /data/one \(process \d+\) is in that"),
    ):
        enter({VARIABLE: "0"}, Path("/data/two"))


def test_a_domain_that_is_no_number_is_refused() -> None:
    with pytest.raises(DomainError, match="ROS_DOMAIN_ID is 'mine', but must be a whole number"):
        enter({VARIABLE: "mine"}, Path("/data"))


def test_a_folder_of_locks_that_cannot_be_made_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(DomainError, match=r"run_0.lock cannot be written: No such file"):
        enter({}, Path("/data"))


def test_a_look_at_the_active_runs_keeps_no_run_from_its_domain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = enter({}, Path("/data"))
    first.close()
    look = domains._path(0, RUN).open("a+")
    fcntl.flock(look, fcntl.LOCK_EX)
    monkeypatch.setattr(domains.time, "sleep", lambda _: look.close())
    claim = enter({VARIABLE: "0"}, Path("/data"))
    claim.close()


def test_a_domain_held_for_plans_is_free_for_the_planned_run() -> None:
    with closing(held(3, "plans")), closing(held(3, RUN)):
        assert domains.claim(3, Path("/data"), "plans") is None


def held(domain: int, purpose: str) -> Claim:
    claim = domains.claim(domain, Path("/data"), purpose)
    assert claim is not None
    return claim


def test_a_run_that_was_killed_holds_nothing() -> None:
    with another("/data/one"):
        pass
    claim = enter({VARIABLE: "0"}, Path("/data/two"))
    assert claim.holder.domain == 0
    claim.close()


def test_a_terminal_that_follows_a_run_may_start_another() -> None:
    with another("/data/one"):
        environment = {VARIABLE: "0", FOLLOWED: "0"}
        claim = enter(environment, Path("/data/two"))
        assert environment[VARIABLE] == "1"
        claim.close()


def test_the_one_active_run_is_followed_and_of_two_none(capsys: pytest.CaptureFixture[str]) -> None:
    nothing = f"unset {VARIABLE} {FOLLOWED}\n"
    domains.main()
    assert capsys.readouterr() == (nothing, "")
    with another("/data/one"):
        domains.main()
        assert capsys.readouterr().out == f"export {VARIABLE}=0 {FOLLOWED}=0\n"
        with another("/data/two"):
            domains.main()
            output, errors = capsys.readouterr()
            assert output == nothing
            assert "in the domains 0 (/data/one), 1 (/data/two)" in errors
