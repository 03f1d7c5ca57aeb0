"""The seed of this run's random choices, printed by every test that makes them."""

import os
import random

SEED = int(os.environ.get("KEYISO_SEED", "0")) or random.SystemRandom().getrandbits(32)
"""``KEYISO_SEED`` repeats a run's choices."""
