"""The four ways to patch. Each returns a new document and leaves the old one as it is."""
