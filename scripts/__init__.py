"""What make and the image call; not part of the app."""
