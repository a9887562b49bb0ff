"""Triage cycles and manual dismissals: assess, guard, dispatch, reconcile."""
