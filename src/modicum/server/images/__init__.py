"""How an image's steps become layers."""
