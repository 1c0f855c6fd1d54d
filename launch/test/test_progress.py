"""The line of progress: what a person reads must be what happened."""

from __future__ import annotations

from planet_bringup.progress import EpisodeEnd, Progress


def test_a_fresh_run_has_a_line_before_anything_happened() -> None:
    assert Progress(started=100.0).line(now=165.0).startswith("  1:05 | 0 episodes | ")


def test_random_episodes_leave_the_statistics_when_planning_begins() -> None:
    progress = Progress(started=0.0)
    progress.add(EpisodeEnd("random", -15.0, touched=True))
    assert "last 1 random: 1 touched, return -15.00" in progress.line(now=1.0)
    progress.add(EpisodeEnd("planner", -3.0, touched=False))
    progress.add(EpisodeEnd("evaluation", -1.0, touched=True))
    assert "last 2 planned: 1 touched, return -2.00" in progress.line(now=1.0)


def test_only_the_last_twenty_episodes_count() -> None:
    progress = Progress(started=0.0)
    for _ in range(20):
        progress.add(EpisodeEnd("planner", -10.0, touched=False))
    for _ in range(20):
        progress.add(EpisodeEnd("planner", -1.0, touched=True))
    assert "last 20 planned: 20 touched, return -1.00" in progress.line(now=1.0)


def test_a_slow_computer_is_told_how_long_it_takes_until_it_is_learnt() -> None:
    progress = Progress(started=0.0, usual_updates=1500, updates=300, updates_per_second=1.0)
    assert "usually" not in progress.line(now=300.0)  # the seed episodes set the rate
    progress.weights_version = 1
    assert "| usually learnt after 25 minutes" in progress.line(now=300.0)
    progress.updates_per_second = 4.0
    assert "usually" not in progress.line(now=299.0)
    progress.updates_per_second, progress.updates = 1.0, 1500
    assert "usually" not in progress.line(now=3000.0)


def test_latency_is_told_in_milliseconds() -> None:
    progress = Progress(started=0.0)
    progress.latencies.extend([0.020] * 99 + [0.050])
    assert "image to command 20 ms" in progress.line(now=1.0)


def test_who_is_missing_is_named_until_it_is_there() -> None:
    progress = Progress(started=0.0)
    line = progress.line(now=5.0)
    assert "waiting for the robot" in line
    assert "waiting for the replay" in line
    assert "no weights yet" in line
    progress.robot = True
    assert "waiting for the robot" not in progress.line(now=10.0)
    assert "waiting for the first decision of the roller" in progress.line(now=10.0)
    progress.latencies.append(0.02)
    progress.replay = True
    progress.weights_version = 1
    assert progress.line(now=15.0).endswith("image to command 20 ms (p99 20)")


def test_what_the_operator_is_asked_stands_in_the_line_until_it_is_answered() -> None:
    progress = Progress(started=0.0, robot=True, replay=True, weights_version=1)
    progress.latencies.append(0.02)
    progress.asked = "torque is off: too hot; see to it"
    assert progress.line(now=5.0).endswith("operator: torque is off: too hot; see to it")
    progress.asked = ""
    assert "operator" not in progress.line(now=5.0)


def test_an_operator_node_that_is_not_heard_any_more_is_named() -> None:
    progress = Progress(started=0.0, robot=True, asked="put the cube there", asked_at=10.0)
    assert "operator: put the cube there" in progress.line(now=14.0)
    assert "the operator node is silent" in progress.line(now=16.0)
