"""Logs, the journal and Prometheus metrics.

Metric labels are closed sets: never a person, a message or a campaign.
"""
