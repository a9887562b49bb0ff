"""The rules file: from bytes to a ruleset and its tests, or to every problem."""
