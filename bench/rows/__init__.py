"""One row each: a program that does the same work its own way and prints how much of its process's CPU that took."""
