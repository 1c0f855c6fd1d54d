"""The URDF files, and what the kinematics read of the arm's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Chain:
    """Joints one after the other, and the link that each of them moves. Lengths in metres."""

    offsets: Array
    """[n, 3]: each joint's origin in its parent's frame."""
    axes: Array
    """[n, 3]: each joint's axis in its own frame; zero for one that is fixed."""
    masses: Array
    """[n] kg."""
    centres: Array
    """[n, 3]: each link's centre of mass in its own frame."""


def path(name: str) -> Path:
    """Return the URDF file of `arm`, `cube` or `floor`.

    Raises:
        FileNotFoundError: there is none of that name.
    """
    found = Path(__file__).with_name("urdf") / f"{name}.urdf"
    if not found.is_file():
        raise FileNotFoundError(f"ergojr_description has no URDF {name!r}: {found} does not exist")
    return found


def chain(name: str, joints: Sequence[str]) -> Chain:
    """Return what `name`.urdf says of these joints, in this order.

    Raises:
        KeyError: there is no such joint.
    """
    robot = ElementTree.parse(path(name)).getroot()
    links = {link.get("name"): link for link in robot.iter("link")}
    found = {joint.get("name"): joint for joint in robot.iter("joint")}
    chosen = [found[joint] for joint in joints]
    moved = [links[_child(joint, "child").get("link")] for joint in chosen]
    return Chain(
        offsets=np.array([_vector(joint, "origin") for joint in chosen]),
        axes=np.array([_vector(joint, "axis") for joint in chosen]),
        masses=np.array([float(_child(link, "inertial/mass").get("value", "0")) for link in moved]),
        centres=np.array([_vector(link, "inertial/origin") for link in moved]),
    )


def _child(element: ElementTree.Element, place: str) -> ElementTree.Element:
    found = element.find(place)
    if found is None:
        raise ValueError(f"{element.tag} '{element.get('name')}' of a URDF file has no {place}")
    return found


def _vector(element: ElementTree.Element, place: str) -> list[float]:
    """The `xyz` of what stands there; zero when there is none."""
    found = element.find(place)
    text = "0 0 0" if found is None else found.get("xyz", "0 0 0")
    return [float(number) for number in text.split()]
