from setuptools import setup

package_name = "planet_core"

setup(
    name=package_name,
    version="0.1.0",
    packages=[package_name],
    package_data={package_name: ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/" + package_name]),
        ("share/" + package_name, ["package.xml"]),
    ],
    install_requires=["setuptools", "numpy", "safetensors"],
    zip_safe=True,
    maintainer="Robo-PlaNet developers",
    maintainer_email="maintainers@robo-planet.org",
    description="What all packages of the suite share, without PyTorch and without ROS.",
    license="Apache-2.0",
)
