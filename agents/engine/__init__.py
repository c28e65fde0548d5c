"""Faust made fast and exact, for any fold: raw records in, one batch a fetched partition; effects acked, then the ack.

Knows nothing of suppliers. May touch Kafka; imports neither the app nor the other rooms.
"""
