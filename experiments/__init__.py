"""Runs, and the figures made of them."""
