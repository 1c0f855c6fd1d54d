"""What is made of a device's picture: its cut, its calibration, and whether it is whole."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from ergojr_driver.camera_calibration import calibration
from ergojr_driver.camera_config import CameraConfig, CameraError
from ergojr_driver.camera_picture import Image, fit, is_damaged
from ergojr_driver.pixel_reward import PoseConfig
from ergojr_sim.world import World

CALIBRATION = """
image_width: 640
image_height: 480
camera_name: front
camera_matrix: {rows: 3, cols: 3, data: [600, 0, 320, 0, 601, 240, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [0.1, -0.2, 0, 0, 0]}
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
projection_matrix: {rows: 3, cols: 4, data: [600, 0, 320, 0, 0, 601, 240, 0, 0, 0, 1, 0]}
"""


@pytest.fixture(scope="module")
def seen() -> Image:
    """The arm as a virtual camera of the rig sees it, 240x320 BGR with a sensor's noise."""
    world = World("servo")
    world.reset(np.zeros(6), (0.0, 0.135), 0.0)
    image = world.renderer.render("camera_front", 320, 240)
    noise = np.random.default_rng(0).integers(0, 3, image.shape, np.uint8)
    return np.asarray(cv2.subtract(image, noise), dtype=np.uint8)[..., ::-1]


def decoded(image: Image, share: float, quality: int, path: Path) -> Image:
    """What FFmpeg makes of the first `share` of a JPEG's bytes."""
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    path.write_bytes(3 * data[: int(share * len(data))])
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    ok, read = capture.read()
    capture.release()
    assert ok
    return np.asarray(read, dtype=np.uint8)


@pytest.mark.parametrize("quality", [90, 40])
def test_a_picture_that_was_cut_off_on_its_way_is_damaged(
    seen: Image, quality: int, tmp_path: Path
) -> None:
    path = tmp_path / "stream.mjpeg"
    assert not is_damaged(decoded(seen, 1.0, quality, path))
    for share in (0.8, 0.5, 0.3):
        assert is_damaged(decoded(seen, share, quality, path))


def test_a_green_picture_is_damaged() -> None:
    assert is_damaged(np.full((480, 640, 3), (0, 135, 0), dtype=np.uint8))


def test_a_green_strip_of_one_row_of_blocks_is_damaged(seen: Image) -> None:
    image = seen.copy()
    image[:8] = (0, 135, 0)
    assert is_damaged(image)


def test_a_grey_lower_half_is_damaged(seen: Image) -> None:
    image = seen.copy()
    image[120:] = 128
    assert is_damaged(image)


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (150, 135, 132), (20, 200, 30)])
def test_a_dark_or_blinded_camera_or_a_plain_wall_is_not_damaged(
    seen: Image, colour: tuple[int, ...]
) -> None:
    image = seen.copy()
    image[:120] = colour
    assert not is_damaged(image)


def test_images_are_brought_to_size_cropped_and_rgb() -> None:
    image = np.zeros((48, 64, 3), dtype=np.uint8)
    image[:, 32:] = (255, 0, 0)  # blue, as OpenCV has it
    config = CameraConfig(source="0", width=32, height=24, crop=(16, 4, 8, 10))
    fitted = fit(image, config)
    assert fitted.shape == (10, 8, 3)
    assert (fitted == (0, 0, 255)).all()
    with pytest.raises(CameraError, match="does not fit"):
        fit(image, dataclasses.replace(config, crop=(30, 0, 8, 8)))


@pytest.mark.parametrize(("width", "height"), [(128, 72), (72, 128), (64, 48), (320, 240)])
def test_another_aspect_is_cut_to_and_never_squeezed(width: int, height: int) -> None:
    image = np.zeros((height, width, 3), dtype=np.uint8)
    cv2.circle(image, (width // 2, height // 2), 20, (255, 255, 255), -1)
    fitted = fit(image, CameraConfig(source="0", width=64, height=48))
    assert fitted.shape == (48, 64, 3)
    _, _, wide, high = cv2.boundingRect(fitted[..., 0])
    assert abs(wide - high) <= 1, "a circle stays one"


def test_a_pinhole_as_the_simulator_has_it_or_nothing() -> None:
    known = calibration(CameraConfig(source="0", field_of_view=60.0), 320, 240)
    focal = 120 / np.tan(np.radians(30))
    assert known.k == pytest.approx([focal, 0, 159.5, 0, focal, 119.5, 0, 0, 1])
    assert known.p[:3] == known.k[:3]
    assert calibration(CameraConfig(source="0"), 320, 240).k == [0.0] * 9


@pytest.mark.parametrize("crop", [(0, 0, 0, 0), (100, 40, 320, 240)])
@pytest.mark.parametrize("sent", [(1280, 720), (480, 640), (320, 240)])
def test_camera_info_follows_the_cut(sent: tuple[int, int], crop: tuple[int, ...]) -> None:
    """A point is where camera_info says, in a picture that was cut and scaled."""
    width, height = sent
    config = CameraConfig("0", width=640, height=480, crop=crop, field_of_view=60.0)
    point = PoseConfig(field_of_view=60.0).project((0.04, 0.02, 0.06), width, height)
    assert point is not None
    x, y = round(point[0]), round(point[1])
    image = np.zeros((height, width, 3), dtype=np.uint8)
    image[y - 6 : y + 7, x - 6 : x + 7] = 255
    bright = cv2.moments(fit(image, config)[..., 0])
    k, ideal = calibration(config, width, height).k, calibration(CameraConfig("0"), width, height)
    assert (ideal.width, ideal.height) == sent
    focal = height / 2 / np.tan(np.radians(30))
    ray = (x - (width - 1) / 2) / focal, (y - (height - 1) / 2) / focal
    assert bright["m10"] / bright["m00"] == pytest.approx(k[0] * ray[0] + k[2], abs=0.5)
    assert bright["m01"] / bright["m00"] == pytest.approx(k[4] * ray[1] + k[5], abs=0.5)


def test_a_calibration_file_is_taken_over_and_follows_crop_and_cut(tmp_path: Path) -> None:
    path = tmp_path / "front.yaml"
    path.write_text(CALIBRATION)
    config = CameraConfig(source="0", calibration_file=str(path))
    known = calibration(config, 640, 480)
    assert known.k[:3] == [600.0, 0.0, 320.0]
    assert known.d[:2] == [0.1, -0.2]
    cropped = dataclasses.replace(config, width=640, height=480, crop=(100, 40, 320, 240))
    known = calibration(cropped, 1280, 720)
    assert (known.width, known.height) == (320, 240)
    assert (known.k[2], known.k[5], known.p[2], known.p[6]) == (220.0, 200.0, 220.0, 200.0)
    scaled = calibration(dataclasses.replace(config, width=320, height=240), 640, 480)
    assert (scaled.k[0], scaled.k[2]) == (300.0, 159.75)
    with pytest.raises(CameraError, match="640x480 images, but 0 sends 320x240"):
        calibration(config, 320, 240)
    path.write_text("image_width: 640")
    with pytest.raises(CameraError, match="is no calibration"):
        calibration(config, 640, 480)
