"""The in-app coach: its endpoints, what it says, and the files that a host page loads."""
