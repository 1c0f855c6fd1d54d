from setuptools import setup

setup(
    name="planet_node",
    version="0.1.0",
    packages=["planet_node"],
    package_data={"planet_node": ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/planet_node"]),
        ("share/planet_node", ["package.xml"]),
    ],
    license="Apache-2.0",
    description="What every Robo-PlaNet node shares at the ROS edge.",
)
