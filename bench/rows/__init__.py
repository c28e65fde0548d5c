"""From events in the log to rows in Postgres: `success worker` beside the same done by hand."""
