"""Learn a DAGAN."""
