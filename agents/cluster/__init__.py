"""What the Kafka cluster has of ours: topics, their ids, partition counts and settings, and how they are kept in order.

Looking (`describing`, `checks`) changes nothing; `provisioning` makes and mends.
"""
