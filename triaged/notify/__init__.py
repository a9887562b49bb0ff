"""Notifications: what people read, and how it is sent."""
