"""The benchmark of transports, with its roles in processes of their own."""

from __future__ import annotations

import pytest

from benchmarks import transport
from planet_node.testing import own_domain


@pytest.fixture(autouse=True)
def _domain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(own_domain(52)))


@pytest.mark.parametrize("disturb", ["", "stopped", "killed"])
def test_a_stream_tells_delays_and_losses_of_images_and_commands(disturb: str) -> None:
    found = transport.stream("UDPv4", "320x240", 1.0, disturb)
    assert set(found) >= set(transport.STREAM)
    for name in ("image", "command"):
        assert 0.0 < found[f"{name}_median"] <= found[f"{name}_p99"] <= found[f"{name}_max"]
        assert 0.0 <= found[f"{name}_lost"] < 100.0


def test_episodes_and_weights_arrive() -> None:
    found = transport.episode("UDPv4", 2) | transport.weights("UDPv4", 1)
    assert set(found) == set(transport.LARGE)
    assert min(found.values()) > 0.0


def test_a_role_that_fails_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="a role ended with"):
        transport.Role("UDPv4", "publish", size="1x1", seconds=1.0, listeners=0)


def test_a_transport_is_given_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(transport.BUILTIN, "theirs")
    monkeypatch.setenv(transport.PROFILES[0], "/theirs.xml")
    found = transport.environment("UDPv4")
    assert found[transport.BUILTIN] == "UDPv4"
    assert transport.PROFILES[0] not in found
    found = transport.environment("UDPv4,/ours.xml")
    assert (found[transport.BUILTIN], found[transport.PROFILES[0]]) == ("UDPv4", "/ours.xml")
