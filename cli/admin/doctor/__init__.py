"""`success doctor`: whether Kafka, Postgres, SMTP and the settings are as they must be, and if not, what to mend."""
