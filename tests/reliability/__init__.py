"""What was promised, tried so often, and what happened.

``pytest -m reliability tests/reliability`` tries each promise in a short form of a few
minutes; with ``TRIAGED_TRIALS=full`` in full, which takes hours.  Either run prints its
table and leaves it in ``build/artefacts``; in full it also writes
``tests/RELIABILITY.md``.
"""
