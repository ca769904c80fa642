"""The fault suite: what becomes of occurrences when processes, databases, wires and clocks fail.

Real services run the jobs of work.py on one store (crew.py) while a fault is done to them; then
checker.py, which knows nothing of how the service works, holds the rules, the store, the lines that
the handlers left and the store's own record of every write (audit.py) against each other.
"""
