"""The LeadLex API: its wire format, without I/O, and the HTTP client."""
