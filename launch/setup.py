from glob import glob

from setuptools import setup

setup(
    name="planet_bringup",
    version="0.1.0",
    packages=["planet_bringup"],
    package_data={"planet_bringup": ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/planet_bringup"]),
        ("share/planet_bringup", ["package.xml"]),
        ("share/planet_bringup/launch", glob("*.launch.py")),
        ("share/planet_bringup/config", glob("config/*.yaml")),
        ("share/planet_bringup/config", glob("config/*.perspective")),
        ("share/planet_bringup/config", glob("config/*.xml")),
        ("share/planet_bringup/demo", glob("demo/*.safetensors")),
        ("share/planet_bringup/hook", glob("hook/*.sh")),  # colcon.pkg names it
        ("share/planet_bringup/udev", glob("udev/*.rules")),
    ],
    entry_points={
        "console_scripts": [
            "progress_node = planet_bringup.progress_node:main",
            "scripted_operator_node = planet_bringup.scripted_operator_node:main",
        ]
    },
    license="Apache-2.0",
    description="Launch files and parameters of Robo-PlaNet.",
)
