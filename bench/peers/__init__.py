"""Other stream processors on the same log, each a process of its own: `python -m bench` runs them side by side."""
