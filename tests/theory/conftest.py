"""Hypothesis draws the same examples in every run, and is not timed: the machine may be busy."""

from hypothesis import settings

settings.register_profile("theory", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("theory")
