"""The page *System*: services, dead letters, the shadow of the policy in force."""
