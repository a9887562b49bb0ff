"""Rule-based auto-triage of the pending Lexi tasks of a LeadLex workspace."""

__version__ = "0.1.0"
