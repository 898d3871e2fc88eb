"""What runs inside the user's container: it takes inputs from its socket, runs the function and answers.

Standard library only, and little of it before the first input: a container's start waits for every import here.
"""
