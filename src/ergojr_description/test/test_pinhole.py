from __future__ import annotations

import pytest

from ergojr_description.pinhole import Pinhole

CAMERA = Pinhole(640, 480, 60.0)


def test_what_is_looked_at_is_in_the_middle() -> None:
    found = CAMERA.project((0.0, 0.0, 0.05), eye=(0.0, 0.45, 0.15), target=(0.0, 0.0, 0.05))
    assert found == pytest.approx((319.5, 239.5))


def test_the_field_of_view_reaches_from_edge_to_edge() -> None:
    high = (0.0, 1.0, 3**-0.5)  # 30 degrees above the horizon
    found = CAMERA.project(high, eye=(0.0, 0.0, 0.0), target=(0.0, 1.0, 0.0))
    assert found == pytest.approx((319.5, -0.5))


def test_what_lies_behind_is_not_seen() -> None:
    assert CAMERA.project((0.0, -1.0, 0.0), (0.0, 0.0, 0.0), (0.0, 1.0, 0.0)) is None


def test_the_matrices_hold_focal_length_and_centre() -> None:
    assert CAMERA.k[0] == CAMERA.k[4] == CAMERA.p[0] == pytest.approx(240 * 3**0.5)
    assert (CAMERA.k[2], CAMERA.k[5]) == (CAMERA.p[2], CAMERA.p[6]) == (319.5, 239.5)
