"""What an execution cost."""
