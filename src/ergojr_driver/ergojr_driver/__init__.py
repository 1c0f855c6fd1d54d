"""The real Ergo Jr: servos, cameras, reward by pixels, and the operator beside it."""
