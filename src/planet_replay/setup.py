from setuptools import setup

setup(
    name="planet_replay",
    version="0.1.0",
    packages=["planet_replay"],
    package_data={"planet_replay": ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/planet_replay"]),
        ("share/planet_replay", ["package.xml"]),
    ],
    entry_points={"console_scripts": ["replay_node = planet_replay.replay_node:main"]},
    license="Apache-2.0",
    description="Durable episode store.",
)
