from setuptools import setup

package_name = "ergojr_driver"

setup(
    name=package_name,
    version="0.1.0",
    packages=[package_name],
    package_data={package_name: ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml", "LICENSE"]),
    ],
    install_requires=[
        *("setuptools", "numpy", "opencv-python-headless", "pypot", "pyserial", "PyYAML"),
    ],
    zip_safe=False,
    maintainer="Robo-PlaNet developers",
    maintainer_email="maintainers@robo-planet.org",
    description="The Poppy Ergo Jr as a robot of Robo-PlaNet",
    license="GPL-3.0-or-later",
    entry_points={
        "console_scripts": [
            "driver = ergojr_driver.guard:main",
            "calibrate = ergojr_driver.calibrate:main",
            "set_id = ergojr_driver.set_id:main",
            "camera_node = ergojr_driver.camera_node:main",
            "pixel_reward_node = ergojr_driver.pixel_reward_node:main",
            "vision_node = ergojr_driver.vision_node:main",
            "tune_colours = ergojr_driver.tune_colours:main",
            "operator = ergojr_driver.operator_node:main",
        ]
    },
)
