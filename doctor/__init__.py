"""Finding out what is wrong with a machine or a set-up, and saying how to mend it."""
