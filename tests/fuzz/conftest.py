"""Seeded mutations of what comes from outside (images, tables, configurations, checkpoints): whatever they hold ends in
a right result or in one clear sentence, never in a traceback or in other numbers.

Each test tries a thousand examples, the same ones in every run: `derandomize` makes the seed from the test's own code.
`ADAMOLMO_FUZZ_EXAMPLES=20000 pytest tests/fuzz` tries as many, others each time. Without hypothesis,
which the extra `test` installs, nothing here is collected.
"""

import os
from importlib.util import find_spec

if find_spec("hypothesis"):
    from hypothesis import HealthCheck, settings

    asked = os.environ.get("ADAMOLMO_FUZZ_EXAMPLES")
    settings.register_profile(
        "fuzz",
        max_examples=int(asked or 1000),
        derandomize=asked is None,
        database=None,
        deadline=None,  # no test depends on speed
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
    )
    settings.load_profile("fuzz")
else:
    collect_ignore_glob = ["test_*.py"]
