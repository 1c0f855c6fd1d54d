"""The files of launch/config are what their readers expect."""

from __future__ import annotations

import ast
import json
from pathlib import Path

from planet_learner import evaluation

CONFIG = Path(__file__).resolve().parents[1] / "config"


def test_the_rqt_perspective_has_settings_for_each_plugin_that_it_opens():
    data = json.loads((CONFIG / "robot.perspective").read_text())
    manager = data["groups"]["pluginmanager"]
    running = ast.literal_eval(manager["keys"]["running-plugins"]["repr"])
    opened = {
        f"plugin__{name.replace('/', '__')}__{serial}"
        for name, serials in running.items()
        for serial in serials
    }
    assert opened == set(manager["groups"])
    topics = []
    for group in manager["groups"].values():
        for key, value in group["groups"].get("plugin", {"keys": {}})["keys"].items():
            read = ast.literal_eval(value["repr"])
            topics += [read] if key == "topic" else read if key == "topics" else []
    assert "/ergojr/prediction/image_raw" in topics
    assert "/ergojr/transition/episode_return" in topics


def test_the_shipped_model_is_small_and_of_this_release():
    path = CONFIG.parent / "demo" / "poke.safetensors"
    assert path.stat().st_size < 3_000_000
    trained = evaluation.read(path)
    assert trained.model.config.cameras == ("camera_front", "camera_side")
    assert trained.model.decoders is not None  # the video shows what they make
