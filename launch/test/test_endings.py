"""What the end of a node means for the launch."""

from __future__ import annotations

import pytest

from planet_bringup.endings import WORKED, Endings


class Launch:
    """Nodes that end at times of its own clock, s."""

    def __init__(self) -> None:
        self.now = 0.0
        self.endings = Endings(["driver"], ["operator"], clock=lambda: self.now)

    def ended(self, name: str, code: int, after: float = 1.0) -> str:
        self.now += after
        return self.endings.reason(f"{name}-3", code)


def test_a_node_that_never_worked_ends_the_launch_with_its_reason() -> None:
    launch = Launch()
    assert launch.ended("roller", 102) == ""
    assert launch.ended("roller", 102) == ""
    with pytest.raises(RuntimeError) as caught:
        launch.ended("roller", 102)
    assert str(caught.value) == (
        "roller has ended 3 times before it ever worked, the last time with exit code 102: "
        "see its last lines."
    )


def test_each_node_has_its_own_count() -> None:
    launch = Launch()
    for _ in range(2):
        for name in ("roller", "learner", "replay"):
            assert launch.ended(name, 1) == ""


def test_a_node_that_has_worked_once_is_always_started_again() -> None:
    launch = Launch()
    launch.ended("roller", 1)
    launch.ended("roller", 1)
    assert launch.ended("roller", -9, after=WORKED) == ""
    for _ in range(5):
        assert launch.ended("roller", -9) == ""


def test_a_misconfigured_node_ends_the_launch_at_once() -> None:
    with pytest.raises(RuntimeError, match="roller-3 cannot start as it is configured"):
        Launch().ended("roller", 2)


def test_an_essential_node_ends_the_launch_whenever_it_ends() -> None:
    with pytest.raises(RuntimeError, match="driver-3 has ended with exit code -9"):
        Launch().ended("driver", -9, after=3600.0)


def test_a_node_whose_end_is_the_launchs_ends_it_without_an_error() -> None:
    launch = Launch()
    assert launch.ended("operator", 0) == "the operator ends the session"
    assert launch.ended("operator", 1) == ""
