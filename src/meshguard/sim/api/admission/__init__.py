"""What happens to a write between its decoding and its storage."""
