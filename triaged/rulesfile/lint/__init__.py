"""What ``check`` finds beyond errors: doubts, unreachable rules, missing tests."""
