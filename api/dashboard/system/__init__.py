"""The page *System*: lag, services, dead letters, the shadow of the policy in force."""
