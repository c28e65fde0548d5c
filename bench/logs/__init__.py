"""Logs to measure with, and loading them into Kafka."""
