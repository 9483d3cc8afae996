"""What two or more functions use. Nothing in here imports a function."""
