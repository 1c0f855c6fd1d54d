from setuptools import setup

setup(
    name="planet_learner",
    version="0.1.0",
    packages=["planet_learner"],
    package_data={"planet_learner": ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/planet_learner"]),
        ("share/planet_learner", ["package.xml"]),
    ],
    entry_points={
        "console_scripts": [
            "evaluator_node = planet_learner.evaluator_node:main",
            "learner_node = planet_learner.learner_node:main",
        ]
    },
    license="Apache-2.0",
    description="Trains the world model while the robots move, and publishes its weights.",
)
