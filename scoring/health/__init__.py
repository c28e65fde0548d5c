"""Health: one supplier's state, moved by events and by time; metrics, level, signals and the snapshot. Pure."""
