"""Puts the pieces together and runs them; imports everything, is imported by nothing."""
