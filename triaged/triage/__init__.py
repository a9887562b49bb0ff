"""One cycle of triage, and dismissal by hand: assess, guard, dispatch, reconcile."""
