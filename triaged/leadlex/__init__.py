"""LeadLex over HTTP: the wire format without I/O, and the client that speaks it."""
