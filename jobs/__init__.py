"""Example jobs, to copy and to change: each module stands on its own.

`scheduler run` imports this package from the working directory and every module in it. A
function with a rule recurs; what it takes is its data, checked when a job is enqueued.
"""
