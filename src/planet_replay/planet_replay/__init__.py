"""Durable episode store, the learner's mirror of it, and the chunk sampler."""
