"""What is seen of the page: what is on it, and how news become pictures and words. Nothing happens here."""
