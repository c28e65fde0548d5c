"""The pure rules: what an event or the passing of time does to one supplier's health.

Nothing here knows a clock, a file, Kafka or Postgres: time is an argument, and every decision comes with its
reason. The live agents, `success run`, replay and the simulator all call the same two functions,
`scoring.health.machine.apply` and `scoring.health.machine.advance`.
"""

__distribution__ = "wedsync-success"
