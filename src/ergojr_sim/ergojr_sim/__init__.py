"""The Ergo Jr in PyBullet: `ergojr_sim.environment` registers the task ErgoJrPoke-v0."""
