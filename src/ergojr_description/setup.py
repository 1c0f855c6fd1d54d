from glob import glob

from setuptools import setup

package_name = "ergojr_description"

setup(
    name=package_name,
    version="0.1.0",
    packages=[package_name],
    package_data={package_name: ["py.typed", "urdf/*.urdf"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
        (f"share/{package_name}/urdf", glob(f"{package_name}/urdf/*.urdf")),
    ],
    install_requires=["setuptools", "numpy"],
    zip_safe=False,
    maintainer="Robo-PlaNet developers",
    maintainer_email="maintainers@robo-planet.org",
    description="Ergo Jr URDF, kinematics and torque limiter",
    license="Apache-2.0",
)
