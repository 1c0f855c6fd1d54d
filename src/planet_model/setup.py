from setuptools import find_packages, setup

package_name = "planet_model"

setup(
    name=package_name,
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    package_data={package_name: ["py.typed", "rollout.c", "vectors.h", "convolution.c"]},
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/" + package_name]),
        ("share/" + package_name, ["package.xml"]),
    ],
    install_requires=["setuptools", "numpy", "safetensors", "torch"],
    entry_points={"robo_planet.methods": ["planet = planet_model.method:METHOD"]},
    zip_safe=True,
    maintainer="Robo-PlaNet developers",
    maintainer_email="maintainers@robo-planet.org",
    description="The world model, objective and planner of PlaNet; its actor and its trainer.",
    license="Apache-2.0",
)
