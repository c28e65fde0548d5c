"""What people do by API, dashboard and command line: calls, consent, personal data, feedback.

In comes one act; out go its rows, its events for the outbox and its line in the audit log, in one transaction.
"""
