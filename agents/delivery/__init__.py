"""Delivery: due rows in; decided again, sent once and noted; what happened goes out by the outbox.

May touch Postgres, the mail server and, through the outbox alone, Kafka.
"""
