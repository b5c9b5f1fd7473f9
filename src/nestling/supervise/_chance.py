"""Chance, where delays need it; `nestling.testing` gives it a seed, to repeat a run."""

import random

CHANCE = random.Random()
