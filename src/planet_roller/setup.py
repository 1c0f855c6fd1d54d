from setuptools import find_packages, setup

package_name = "planet_roller"

setup(
    name=package_name,
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    package_data={package_name: ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/" + package_name]),
        ("share/" + package_name, ["package.xml"]),
    ],
    install_requires=["setuptools", "numpy", "safetensors", "torch"],
    zip_safe=True,
    maintainer="Robo-PlaNet developers",
    maintainer_email="maintainers@robo-planet.org",
    description="The control loop that rolls out episodes: belief, planner, recorder, spool.",
    license="Apache-2.0",
    entry_points={"console_scripts": ["roller_node = planet_roller.roller_node:main"]},
)
