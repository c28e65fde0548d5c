"""Commands for operators: topics, tables, checks, and what is done to one supplier by name."""
