"""The daemon: main loop, schedule, signals, health, metrics, HTTP, reload."""
