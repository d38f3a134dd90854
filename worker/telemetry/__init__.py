"""What is counted and timed, as Prometheus metrics. Labels are closed sets: never a person, a message or a campaign."""
