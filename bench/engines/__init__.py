"""One worker beside other engines."""
