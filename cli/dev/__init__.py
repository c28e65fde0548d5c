"""Commands for trying things out: the embedded stack, recorded files, simulated populations, tokens."""
