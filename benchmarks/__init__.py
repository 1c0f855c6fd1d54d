"""Speed: the planner and the learner, alone, together, and against the PlaNet they descend from."""
