from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from planet_core.weights import Weights, WeightsError, from_file, to_file

RNG = np.random.default_rng(0)
TENSORS = {
    "layer.weight": RNG.normal(size=(300, 7)).astype(np.float32),
    "count": np.array(3, np.int64),
}
WEIGHTS = Weights("hash", '{"model": {}}', safetensors.numpy.save(TENSORS), update=7)


def round_trip(weights: Weights, folder: Path) -> Weights:
    path = folder / "weights.safetensors"
    path.write_bytes(to_file(weights))
    return from_file(path)


def test_a_file_stands_alone_and_rounds_to_eight_bits(tmp_path: Path) -> None:
    again = round_trip(WEIGHTS, tmp_path)
    assert dataclasses.replace(again, data=WEIGHTS.data) == WEIGHTS
    found = safetensors.numpy.load(again.data)
    assert found.keys() == TENSORS.keys()
    np.testing.assert_allclose(found["layer.weight"], TENSORS["layer.weight"], rtol=2**-8)
    assert found["count"] == 3


def test_a_file_is_half_as_large() -> None:
    assert len(to_file(WEIGHTS)) < 0.6 * len(WEIGHTS.data)


def test_rounding_what_is_rounded_changes_nothing(tmp_path: Path) -> None:
    first = round_trip(WEIGHTS, tmp_path)
    again = round_trip(first, tmp_path)
    assert safetensors.numpy.load(again.data)["layer.weight"].tolist() == (
        safetensors.numpy.load(first.data)["layer.weight"].tolist()
    )


@given(st.floats(-(2.0**100), 2.0**100, width=32))
def test_a_number_is_rounded_to_the_nearest(tmp_path_factory, value: float) -> None:
    folder = tmp_path_factory.mktemp("weights")
    data = safetensors.numpy.save({"x": np.array([value], np.float32)})
    rounded = safetensors.numpy.load(round_trip(Weights("", "{}", data), folder).data)["x"][0]
    assert abs(float(rounded) - value) <= 2**-8 * abs(value) + 1e-38


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "not a safetensors file"),
        (b"\x80\x04pickle", "not a safetensors file"),
        (to_file(WEIGHTS)[:-1], "not a safetensors file"),
        (WEIGHTS.data, "does not say of which model"),
    ],
)
def test_another_file_is_refused_in_one_sentence(
    data: bytes, sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=sentence) as caught:
        from_file(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
