"""What the dashboard's pages read: pages of indexes and small tallies."""
