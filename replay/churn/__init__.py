"""The churn model: samples of a log, its fit, how well it does, and the file that scoring reads."""
