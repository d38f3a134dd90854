"""Proves or refutes the promises P1 to P4 from journals.

Shares no code with policies, nor with the programs that it judges.
"""
