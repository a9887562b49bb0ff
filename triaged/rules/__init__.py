"""The pure core: tasks and rules in, decisions and explanations out."""
