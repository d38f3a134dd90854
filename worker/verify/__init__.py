"""Proves or refutes the promises P1 to P4 from journals. Shares no code with policies or with what it judges."""
