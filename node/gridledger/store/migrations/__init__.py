"""Schema migrations, numbered by generation and step: 0203 is step 3 of generation 2.

A generation ends where the contracts change so that no chain of before can be gone on with; its steps are dropped, and
a database of it is refused by name.
"""
