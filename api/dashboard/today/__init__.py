"""*Today*: whom to call now and why, who changed, what goes out."""
