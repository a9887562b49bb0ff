"""The long-running service: loop, schedule, signals, health, metrics, HTTP, reload."""
