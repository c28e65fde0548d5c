"""Did it help: treated against holdout, live or in a simulated experiment, with intervals."""
