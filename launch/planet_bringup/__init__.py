"""The graph as a whole: the line of progress that a person reads while it runs."""
