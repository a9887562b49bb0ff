"""Rule-based auto-triage of the pending Lexi tasks of a LeadLex workspace."""

from typing import Final

__version__: Final = "0.1.0"
