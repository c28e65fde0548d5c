"""Commands for analysts: they read the log and the tables, and send nothing."""
