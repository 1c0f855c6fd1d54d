"""Find the colours of gripper and cube, and see what the reward would see.

    ros2 run ergojr_driver tune_colours 0
    ros2 run ergojr_driver tune_colours http://cam/stream --gripper 150 80 20 40 --cube 90 160 10 10

Shows the image, the masks of gripper and cube, and what was detected. In a window (where there is
a screen and an OpenCV that has windows) click left on the gripper and right on the cube to take the
colours around there, Enter to end. Otherwise one picture is written (--output), and regions given
as x y width height are sampled. Either way the colours are printed as YAML for the `pixel_reward`
section of robot.yaml; --bounds reads them back.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from ergojr_driver.camera_config import CameraConfig, CameraError
from ergojr_driver.camera_picture import fit
from ergojr_driver.camera_source import open_source
from ergojr_driver.detection import (
    DetectionConfig,
    Detector,
    Image,
    annotate,
    colour_mask,
)

BOUNDS = ("gripper_low", "gripper_high", "cube_low", "cube_high")
HUE_MARGIN, SATURATION_MARGIN, VALUE_MARGIN = 8, 60, 80
CLICK = 6  # px around a click that are sampled
SETTLE = 15  # frames until a camera's automatic exposure has settled
_WINDOW = "left click: gripper, right click: cube, Enter: done"

Region = tuple[int, int, int, int]


def sample(image: Image, region: Region) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Bounds, low and high, of the colour in `region` (x, y, width, height) of an RGB image.

    The middle nine tenths of its pixels with a margin; a hue near red comes out with low > high.

    Raises:
        ValueError: if the region lies outside of the image or is without colour.
    """
    x, y, width, height = region
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)[max(y, 0) : y + height, max(x, 0) : x + width]
    if not pixels.size:
        raise ValueError(f"region {list(region)} lies outside of the image")
    hue, saturation, value = pixels.reshape(-1, 3).astype(float).T
    if np.median(saturation) < 40 or np.median(value) < 40:
        raise ValueError(f"region {list(region)} is without colour: grey, white or dark")
    # Hues are angles: spread is measured around their mean direction, weighted by saturation.
    angle = hue * (np.pi / 90)
    mean = np.arctan2(saturation @ np.sin(angle), saturation @ np.cos(angle))
    away = np.angle(np.exp(1j * (angle - mean))) * (90 / np.pi)
    centre = mean * (90 / np.pi)
    low = round(centre + np.percentile(away, 5) - HUE_MARGIN) % 180
    high = round(centre + np.percentile(away, 95) + HUE_MARGIN) % 180
    least_saturation = max(40, round(np.percentile(saturation, 5) - SATURATION_MARGIN))
    least_value = max(40, round(np.percentile(value, 5) - VALUE_MARGIN))
    return (low, least_saturation, least_value), (high, 255, 255)


def montage(image: Image, config: DetectionConfig) -> Image:
    """Image | mask of the gripper | mask of the cube | what was detected, side by side, RGB."""
    hsv = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), dtype=np.uint8)
    masks = [
        np.repeat(colour_mask(hsv, low, high)[..., None], 3, axis=2)
        for low, high in (
            (config.gripper_low, config.gripper_high),
            (config.cube_low, config.cube_high),
        )
    ]
    detector, drawn = Detector(config), image.copy()
    found = detector.find(image)
    height, width = image.shape[:2]
    annotate(drawn, found, detector.judge(*found, image, (width / 2, height / 2)))
    return np.hstack([image, *masks, drawn])


def to_yaml(config: DetectionConfig) -> str:
    """The colours as robot.yaml has them."""
    lines = "".join(f"    {name}: {list(getattr(config, name))}\n" for name in BOUNDS)
    return f"/**/pixel_reward:\n  ros__parameters:\n{lines}"


def from_yaml(text: str) -> DetectionConfig:
    """The colours of a pixel_reward section (of the whole robot.yaml, or what this tool wrote).

    Raises:
        ValueError: if there is none, or a bound is none.
    """
    content: Any = yaml.safe_load(text)
    sections = [
        section["ros__parameters"]
        for name, section in (content.items() if isinstance(content, dict) else ())
        if str(name).rsplit("/", maxsplit=1)[-1] == "pixel_reward"
    ]
    if not sections:
        raise ValueError("there is no pixel_reward section")
    given: dict[str, Any] = {
        name: tuple(sections[-1][name]) for name in BOUNDS if name in sections[-1]
    }
    return DetectionConfig(**given)


def sampled(
    image: Image, config: DetectionConfig, gripper: Region | None, cube: Region | None
) -> DetectionConfig:
    """`config` with the colours of the given regions."""
    for name, region in (("gripper", gripper), ("cube", cube)):
        if region is not None:
            low, high = sample(image, region)
            bounds: dict[str, Any] = {f"{name}_low": low, f"{name}_high": high}
            config = dataclasses.replace(config, **bounds)
    return config


def main(arguments: list[str] | None = None) -> int:
    """Run the tool; 0 done, 2 when source, region or file is of no use."""
    options = _parser().parse_args(arguments)
    try:
        config = from_yaml(Path(options.bounds).read_text("utf-8")) if options.bounds else None
        config = config or DetectionConfig()
        camera = CameraConfig(source=options.source, width=options.width, height=options.height)
        image = _still(camera)
        config = sampled(image, config, options.gripper, options.cube)
        if not options.output:
            config = _window(camera, image, config)
        else:
            _write(options.output, montage(image, config))
    except (CameraError, OSError, ValueError) as error:
        print(f"tune_colours: {error}", file=sys.stderr)
        return 2
    sys.stdout.write(to_yaml(config))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "source", help="path of an image or video, V4L2 index or path, or URL of a stream"
    )
    area: dict[str, Any] = {"type": int, "nargs": 4, "metavar": ("X", "Y", "WIDTH", "HEIGHT")}
    parser.add_argument(
        "--gripper", **area, help="region in pixels that shows the gripper's colour"
    )
    parser.add_argument("--cube", **area, help="region in pixels that shows the cube's colour")
    parser.add_argument(
        "--bounds", default="", help="path of a YAML file with the colours to start from"
    )
    parser.add_argument(
        "--output", default="", help="path of a PNG to write instead of opening a window"
    )
    for side in ("width", "height"):
        text = f"image {side} in pixels requested from the device (default: the device's own)"
        parser.add_argument(f"--{side}", type=int, default=0, help=text)
    return parser


def _still(camera: CameraConfig) -> Image:
    """A picture from the source, after its automatic exposure has settled."""
    picture: NDArray[np.uint8] | None = None
    if Path(camera.source).is_file():
        picture = cv2.imread(camera.source)
    if picture is None:
        capture = open_source(camera)
        for _ in range(SETTLE):
            ok, frame = capture.grab(), None
            if ok:
                ok, frame = capture.retrieve()
            if not ok:
                break
            picture = frame
        capture.release()
    if picture is None:
        raise CameraError(f"{camera.source} gives no picture")
    return fit(picture, camera)


def _write(path: str, picture: Image) -> None:
    if not cv2.imwrite(path, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)):
        raise OSError(f"{path} cannot be written")
    print(f"# image | gripper | cube | detected: {path}")


def _window(camera: CameraConfig, image: Image, config: DetectionConfig) -> DetectionConfig:
    """Sample where is clicked until Enter, q or Escape."""
    state = {"config": config}

    def on_mouse(event: int, x: int, y: int, flags: int, extra: object) -> None:
        name = {cv2.EVENT_LBUTTONDOWN: "gripper", cv2.EVENT_RBUTTONDOWN: "cube"}.get(event)
        if name is None:
            return
        region = (x % image.shape[1] - CLICK, y - CLICK, 2 * CLICK, 2 * CLICK)
        try:
            state["config"] = sampled(
                image,
                state["config"],
                region if name == "gripper" else None,
                region if name == "cube" else None,
            )
        except ValueError as error:
            print(f"# {error}", file=sys.stderr)

    try:
        cv2.namedWindow(_WINDOW)
    except cv2.error:  # no screen, or an OpenCV without windows
        _write("tune_colours.png", montage(image, config))
        return config
    cv2.setMouseCallback(_WINDOW, on_mouse)
    while cv2.waitKey(30) not in (13, 27, ord("q")):
        cv2.imshow(_WINDOW, cv2.cvtColor(montage(image, state["config"]), cv2.COLOR_RGB2BGR))
    cv2.destroyAllWindows()
    return state["config"]


if __name__ == "__main__":
    sys.exit(main())
