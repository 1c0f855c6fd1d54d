from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest


def test_the_ends_of_the_action_range_become_the_limits(spec):
    spec = replace(spec, action_low=(-1.0, 0.0), action_high=(3.0, 0.5))
    for value, expected in ((-1.0, (-1.0, 0.0)), (0.0, (1.0, 0.25)), (1.0, (3.0, 0.5))):
        assert spec.scale(np.full(2, value, np.float32)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ({"name": "a/b"}, "name"),
        ({"action_names": ()}, "action_names is empty"),
        ({"cameras": (), "state_names": ()}, "neither cameras nor state_names"),
        ({"cameras": ("c", "c")}, "names something twice"),
        ({"action_low": (0.0,)}, "1 action_low"),
        ({"action_low": (0.0, float("nan"))}, "finite"),
        ({"action_low": (0.1, 0.0)}, "less than"),
        ({"control_period": 0.0}, "control_period"),
        ({"max_steps": 0}, "max_steps"),
        ({"real_time_factor": -1.0}, "real_time_factor"),
    ],
)
def test_a_spec_that_cannot_be_controlled_is_refused_by_name(spec, fault, sentence):
    with pytest.raises(ValueError, match=sentence):
        replace(spec, **fault)
