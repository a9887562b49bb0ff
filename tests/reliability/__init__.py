"""Each guarantee, tested many times, and the results.

``pytest -m reliability tests/reliability`` tests each guarantee in a short form of a
few minutes; with ``TRIAGED_RELIABILITY=full`` in full, which takes hours.  Either run
prints its table and writes it to ``build/artefacts``; in full also to
``tests/RELIABILITY.md``.
"""
