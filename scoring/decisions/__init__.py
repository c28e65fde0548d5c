"""Decisions: which message leaves, waits or never leaves, and why; hours, caps, consent, calls. Pure."""
