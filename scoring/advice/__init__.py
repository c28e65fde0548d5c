"""Advice: what would help a supplier most, in points and in words. Pure."""
