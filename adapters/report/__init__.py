"""What a run did and what it cost, for people: HTML pages, a table for the terminal, JSON."""
