"""The LeadLex double: people rehearse on it, and so do the tests and the demo.

Written from the documents alone; it shares no code with the client that it tests.
"""
