"""What is done for a release, and at no other time."""
