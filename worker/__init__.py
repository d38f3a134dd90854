"""The Sendwindow service: takes jobs, decides, sends through Twilio, records.

Start it with `python -m worker`.
"""
