"""Training of a DAGAN."""
