"""Trains the world model while the robots move, and publishes its weights."""
