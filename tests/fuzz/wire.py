"""Fuzz the decoder of answers: ``python -m tests.fuzz.wire -max_total_time=300``.

Needs atheris, which is no dependency of ours: ``pip install atheris``.  Flags are those
of libFuzzer.  Without atheris the corpus is replayed by ``tests/fuzz/test_corpus.py``.
"""

import sys

from tests.fuzz.run import main

if __name__ == "__main__":
    sys.exit(main("wire"))
