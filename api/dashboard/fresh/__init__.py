"""How fresh pages are: as of when they are, what lags, and what a stack is told that has nobody yet."""
