"""What-ifs: two variants of one replay compared, as numbers and as a report."""
