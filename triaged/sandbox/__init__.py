"""The LeadLex simulator, for rehearsals, tests and the demo.

It is written from the API documentation alone and shares no code with the client.
"""
