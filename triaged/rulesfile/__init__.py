"""The rules file: parses bytes into a ruleset and its tests, or lists every problem."""
