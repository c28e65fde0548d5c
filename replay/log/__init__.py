"""The log: where a replay reads from (Kafka, an archive, a file), and from which place to which."""
