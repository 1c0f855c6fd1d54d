from setuptools import setup

package_name = "ergojr_sim"

setup(
    name=package_name,
    version="0.1.0",
    packages=[package_name],
    package_data={package_name: ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
    ],
    install_requires=["setuptools", "numpy", "gymnasium", "pybullet", "opencv-python-headless"],
    zip_safe=False,
    maintainer="Robo-PlaNet developers",
    maintainer_email="maintainers@robo-planet.org",
    description="The Ergo Jr in PyBullet: Gymnasium environment, ROS 2 node, virtual hardware",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "sim_node = ergojr_sim.sim_node:main",
            "rig_node = ergojr_sim.rig_node:main",
        ]
    },
)
