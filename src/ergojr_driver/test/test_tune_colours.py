"""The tool that tunes colours, on a rendering."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from ergojr_driver.detection import Detector, Image
from ergojr_driver.tune_colours import from_yaml, main, sample


def scene(path: Path) -> Image:
    """RGB with an orange-red cube and a blue gripper; saved as a file."""
    image = np.full((120, 160, 3), 200, dtype=np.uint8)
    noise = np.random.default_rng(0).integers(-10, 10, image.shape)
    image[30:70, 40:50] = (20, 40, 200)
    image[80:100, 90:110] = (210, 30, 40)
    image = np.clip(image + noise, 0, 255).astype(np.uint8)
    cv2.imwrite(str(path), image[..., ::-1])
    return image


def test_sampled_colours_find_the_objects(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = scene(tmp_path / "scene.png")
    output = tmp_path / "out.png"
    arguments = [str(tmp_path / "scene.png"), "--output", str(output)]
    assert (
        main([*arguments, *["--gripper", "41", "40", "8", "20", "--cube", "95", "85", "10", "10"]])
        == 0
    )
    config = from_yaml(capsys.readouterr().out)
    assert config.cube_low[0] > config.cube_high[0], "red wraps"
    gripper, cube = Detector(config).find(image)
    assert gripper is not None
    assert cube is not None
    assert gripper.centre == pytest.approx((44.5, 49.5), abs=0.5)
    assert cube.centre == pytest.approx((99.5, 89.5), abs=0.5)
    assert cv2.imread(str(output)).shape == (120, 4 * 160, 3)


def test_a_grey_region_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = scene(tmp_path / "scene.png")
    with pytest.raises(ValueError, match="without colour"):
        sample(image, (0, 0, 10, 10))
    arguments = [str(tmp_path / "scene.png"), "--output", str(tmp_path / "out.png")]
    assert main([*arguments, *["--cube", "500", "5", "10", "10"]]) == 2
    assert "outside of the image" in capsys.readouterr().err


def test_a_source_that_is_not_there_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["/nowhere/at.all", "--output", "x.png"]) == 2
    assert capsys.readouterr().err == "tune_colours: /nowhere/at.all cannot be opened\n"
