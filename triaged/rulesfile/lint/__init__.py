"""The warnings of ``check``: doubtful patterns, unreachable rules, missing tests."""
