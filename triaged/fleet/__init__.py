"""The files that describe a fleet: many workspaces, their settings, rules and keys."""
