"""The page *Rules*: what is in force and why, its history, a draft of the policy's numbers, and rolling back."""
