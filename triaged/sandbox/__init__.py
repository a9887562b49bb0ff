"""The LeadLex simulator, for rehearsals, tests and the demo.

Written from the documents alone; it shares no code with the client that it tests.
"""
